"""Charts as SVG: pure, without a style of their own, legible alone.

static/operator.css gives lines and bars their colours, in light and in dark, by class. No
meaning is carried by colour alone: lines differ in their dashes, what crosses a threshold is
marked by shape, and every page has the numbers in a table beside the chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup, escape

# Narrow on purpose: on a telephone the chart shrinks little, and its words stay legible.
WIDTH, HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 28, 40
STYLES = 6  # as many series look different; the next begins again
_GAP = 1.6  # of the distance between points: beyond it nothing was measured


@dataclass(frozen=True)
class Line:
    """A series; x ascending. marked: places in `points` that are drawn as alarms."""

    name: str
    points: Sequence[tuple[float, float]]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Axis:
    """low, high: what it spans; ticks: value and word; label: what is measured, with its unit."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    label: str


@dataclass(frozen=True)
class Chart:
    """kind: lines, or bars that stand on one another.

    step: distance of two neighbours on x; limits: values of y that matter, with a word.
    """

    title: str
    description: str
    lines: Sequence[Line]
    x: Axis
    y: Axis
    step: float
    kind: Literal["lines", "bars"] = "lines"
    limits: Sequence[tuple[float, str]] = field(default=())
    is_log: bool = False

    @property
    def name(self) -> str:
        """A name for ids, unique on a page as titles are."""
        return "chart-" + "".join(c if c.isalnum() else "-" for c in self.title.lower())

    @property
    def is_empty(self) -> bool:
        return not any(line.points for line in self.lines)

    @property
    def keys(self) -> list[tuple[str, Markup]]:
        """Each series' name with a sample of how it is drawn, where there are several."""
        if len(self.lines) < 2:
            return []
        return [(line.name, _sample(self.kind, n)) for n, line in enumerate(self.lines)]

    def svg(self) -> Markup:
        """Return the picture."""
        drawn = _bars(self) if self.kind == "bars" else _lines(self)
        parts = [_grid(self), drawn, _limits(self)]
        name = escape(self.name)
        return Markup(  # noqa: S704 - every text in it went through escape
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc">'
            f'<title id="{name}-title">{escape(self.title)}</title>'
            f'<desc id="{name}-desc">{escape(self.description)}</desc>{"".join(parts)}</svg>'
        )


def linear(label: str, values: Sequence[float], least_high: float = 0.0) -> Axis:
    """Return an axis from 0 to a round number above all values."""
    high = max([least_high, *values], default=least_high) or 1.0
    step = round_step(high / 4)
    count = math.ceil(high / step - 1e-9)
    ticks = [(n * step, short(n * step)) for n in range(count + 1)]
    return Axis(0.0, count * step, ticks, label)


def shares(label: str) -> Axis:
    """Return an axis from 0 to 100 %."""
    return Axis(0.0, 1.0, [(n / 4, f"{25 * n} %") for n in range(5)], label)


def decades(label: str, values: Sequence[float], floor: float = 1e-12) -> Axis:
    """Return a logarithmic axis down to the least value, 1 at its top."""
    least = max(min((value for value in values if value > 0), default=1e-2), floor)
    low = min(-2, math.floor(math.log10(least)))
    stride = max(1, math.ceil(-low / 5))
    ticks = [(10.0**n, f"{10.0**n:g}" if n > -4 else f"1e{n}") for n in range(0, low - 1, -stride)]
    return Axis(10.0**low, 1.0, ticks, label)


def round_step(least: float) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= least * (1 - 1e-9))


def short(value: float) -> str:
    """Return a number as an axis shows it."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g} k"
    return f"{value:g}"


def _place_x(chart: Chart, value: float) -> float:
    span = (chart.x.high - chart.x.low) or 1.0
    return _LEFT + (value - chart.x.low) / span * (WIDTH - _LEFT - _RIGHT)


def _place_y(chart: Chart, value: float) -> float:
    low, high = chart.y.low, chart.y.high
    if chart.is_log:
        value, low, high = (math.log10(max(v, low)) for v in (value, low, high))
    share = (min(max(value, low), high) - low) / ((high - low) or 1.0)
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _grid(chart: Chart) -> str:
    right, foot = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value, word in chart.y.ticks:
        y = _place_y(chart, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(word, _LEFT - 6, y + 4, "end"))
    for value, word in chart.x.ticks:
        x = _place_x(chart, value)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{foot}" y2="{foot + 4}"/>')
        parts.append(_text(word, x, foot + 17, "middle"))
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{foot}" y2="{foot}"/>')
    parts.append(_text(chart.x.label, right, HEIGHT - 6, "end", "axis-label"))
    parts.append(_text(chart.y.label, 2, 11, "start", "axis-label"))
    return "".join(parts)


def _limits(chart: Chart) -> str:
    """Draw the limits, and their words at the top, where no point hides them."""
    right, parts = WIDTH - _RIGHT, []
    for number, (value, word) in enumerate(chart.limits):
        y = _place_y(chart, value)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(f"- - {word}", right, 11 + 13 * number, "end", "limit-label"))
    return "".join(parts)


def _lines(chart: Chart) -> str:
    return "".join(_line(chart, number, line) for number, line in enumerate(chart.lines))


def _line(chart: Chart, number: int, line: Line) -> str:
    style, parts, before = f"s{number % STYLES + 1}", [], -math.inf
    for x, y in line.points:
        pen = "M" if x - before > _GAP * chart.step else "L"
        parts.append(f"{pen}{_place_x(chart, x):.1f} {_place_y(chart, y):.1f}")
        before = x
    path = f'<path class="line {style}" d="{"".join(parts)}"/>' if parts else ""
    return path + "".join(_dots(chart, line, style))


def _dots(chart: Chart, line: Line, style: str) -> list[str]:
    """Mark alarms, the last point, and points that stand alone, which no line would show."""
    xs = [x for x, _ in line.points]
    dots = []
    for place, (x, y) in enumerate(line.points):
        px, py = _place_x(chart, x), _place_y(chart, y)
        if place in line.marked:
            dots.append(
                f'<path class="alarm" d="M{px:.1f} {py - 6:.1f}l6 10h-12z"/>'  # a triangle
            )
        elif place == len(xs) - 1 or _is_alone(chart, xs, place):
            dots.append(f'<circle class="dot {style}" cx="{px:.1f}" cy="{py:.1f}" r="2.6"/>')
    return dots


def _is_alone(chart: Chart, xs: Sequence[float], place: int) -> bool:
    far = _GAP * chart.step
    left = place == 0 or xs[place] - xs[place - 1] > far
    right = place == len(xs) - 1 or xs[place + 1] - xs[place] > far
    return left and right


def _bars(chart: Chart) -> str:
    """Draw each line's values on top of those before it."""
    width = max(1.0, (_place_x(chart, chart.step) - _place_x(chart, 0)) - 1)
    ground: dict[float, float] = {}
    parts = []
    for number, line in enumerate(chart.lines):
        for x, value in line.points:
            below = ground.get(x, 0.0)
            ground[x] = below + value
            top, foot = _place_y(chart, below + value), _place_y(chart, below)
            left = max(_place_x(chart, x), _LEFT)
            visible = min(width, WIDTH - _RIGHT - left)
            if value > 0 and visible > 0:
                parts.append(
                    f'<rect class="bar s{number % STYLES + 1}" x="{left:.1f}" y="{top:.1f}" '
                    f'width="{visible:.1f}" height="{max(foot - top, 0.5):.1f}"/>'
                )
    return "".join(parts)


def _sample(kind: str, number: int) -> Markup:
    style = f"s{number % STYLES + 1}"
    drawn = (
        f'<rect class="bar {style}" x="10" y="1" width="16" height="10"/>'
        if kind == "bars"
        else f'<path class="line {style}" d="M0 6H26"/>'
    )
    return Markup(  # noqa: S704 - no text but ours
        f'<svg class="key" viewBox="0 0 26 12" aria-hidden="true" focusable="false">{drawn}</svg>'
    )


def _text(word: str, x: float, y: float, anchor: str, style: str = "tick-label") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(word)}</text>"
    )


def maximum(lines: Sequence[Line], kind: str = "lines") -> list[float]:
    """Return the values that an axis has to hold: of bars their sums."""
    if kind == "lines":
        return [y for line in lines for _, y in line.points]
    sums: dict[float, float] = {}
    for line in lines:
        for x, y in line.points:
            sums[x] = sums.get(x, 0.0) + y
    return list(sums.values())
