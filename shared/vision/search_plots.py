"""Pictures of a search: its history, its trials in parallel coordinates, what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import MaxNLocator

from shared.vision.plots import ACCENT, BAD, SOFT

_COLOURS = colormaps["viridis_r"]  # dark is good, and is drawn last
_FAINT = "#c4cbd3"
_INK = "#2b3440"


@dataclass(frozen=True)
class Axis:
    """One upright axis of parallel coordinates: of `choices`, or of numbers low to high."""

    name: str
    choices: Sequence[str] = ()
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False

    def place(self, value: str | float) -> float:
        """Return where in [0, 1] a value lies."""
        if self.choices:
            step = self.choices.index(str(value))
            return (step + 0.5) / len(self.choices)
        number = min(max(float(value), self.low), self.high)
        if self.is_log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / ((self.high - self.low) or 1.0)

    @property
    def spread(self) -> float:
        """The height of a bundle of lines that share a choice."""
        return 0.32 / len(self.choices) if self.choices else 0.0

    def ticks(self) -> list[tuple[float, str]]:
        """Return places in [0, 1] and what stands there."""
        if self.choices:
            return [(self.place(choice), choice) for choice in self.choices]
        return [(self.place(value), f"{value:.3g}") for value in self._marks()]

    def _marks(self) -> list[float]:
        if not self.is_log:
            return [float(value) for value in np.linspace(self.low, self.high, 5)]
        powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
        tens = [10.0**power for power in powers if 10.0**power / self.low > 1.3]
        return [self.low, *(t for t in tens if self.high / t > 1.3), self.high]


@dataclass(frozen=True)
class Line:
    """One trial: a value by axis name, and its objective; `is_whole` unless it ended early."""

    values: Mapping[str, str | float]
    objective: float
    is_whole: bool = True


def parallel_coordinates(axes: Sequence[Axis], lines: Sequence[Line], objective: str) -> Figure:
    """Draw each trial as a line over the axes, coloured by the objective on the last one.

    Trials that ended early are faint: their objective cannot be compared with the others'.
    Raises ValueError where no trial came to its end.
    """
    whole = [line.objective for line in lines if line.is_whole]
    # One bad trial must not take the colours from all the others.
    low, high = float(np.quantile(whole, 0.1)), max(whole)
    scale = Normalize(low, high if high > low else low + 1e-9, clip=True)
    last = Axis(objective, low=min(line.objective for line in lines), high=high)
    columns = [*axes, last]
    figure = Figure(figsize=(max(6.4, 1.9 * len(columns) + 1.0), 4.2))
    canvas = figure.subplots()
    canvas.set(xlim=(-0.42, len(columns) - 0.8), ylim=(-0.04, 1.06))
    best = max((line for line in lines if line.is_whole), key=lambda line: line.objective)
    ordered = sorted(lines, key=lambda line: (line.is_whole, line.objective))
    for number, line in enumerate(ordered):
        places = [axis.place(line.values[axis.name]) for axis in axes]
        # Lines that share a choice are spread a little, or one would hide the others.
        turn = (number * 0.618) % 1.0 - 0.5
        nudged = [p + turn * a.spread for p, a in zip(places, axes, strict=True)]
        colour = _COLOURS(0.08 + 0.92 * scale(line.objective)) if line.is_whole else _FAINT
        width = 3.2 if line is best else 1.5 if line.is_whole else 0.9
        _draw_line(canvas, [*nudged, last.place(line.objective)], colour, width)
    for number, axis in enumerate(columns):
        _draw_axis(canvas, number, axis)
    canvas.axis("off")
    bar = figure.colorbar(
        ScalarMappable(scale, _trimmed()), ax=canvas, pad=0.02, fraction=0.03, extend="min"
    )
    bar.set_label(objective)
    bar.outline.set_visible(False)
    return figure


def history(
    values: Sequence[tuple[int, float, str]], objective: str, is_maximised: bool = True
) -> Figure:
    """Draw the trials in their order, and the best so far.

    values: trial number, objective, state: complete, pruned.
    """
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    complete = [(n, v) for n, v, state in values if state == "complete"]
    pruned = [(n, v) for n, v, state in values if state != "complete"]
    pick = max if is_maximised else min
    best = [pick(v for _, v in complete[: i + 1]) for i in range(len(complete))]
    axes.step([n for n, _ in complete], best, where="post", color=ACCENT, label="best so far")
    x, y = zip(*complete, strict=True)
    axes.scatter(x, y, 26, ACCENT, zorder=3, label="complete")
    if pruned:
        x, y = zip(*pruned, strict=True)
        axes.scatter(x, y, 26, "none", edgecolors=SOFT, label="pruned: best before it ended")
    axes.set_xlabel("trial")
    axes.set_ylabel(objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _soften(axes)
    axes.legend(fontsize=8, frameon=False, loc="best")
    return figure


def learning_curves(
    trials: Sequence[tuple[str, Sequence[tuple[int, float]], str]], objective: str
) -> Figure:
    """Draw the objective after each epoch.

    trials: label, (epoch, value) and style of each: best (with its label), complete, pruned.
    """
    styles: dict[str, dict[str, Any]] = {
        "best": {"color": ACCENT, "linewidth": 2.6, "zorder": 4},
        "complete": {"color": "#7fb3c4", "linewidth": 1.2, "zorder": 2},
        "pruned": {"color": BAD, "linewidth": 1.0, "alpha": 0.55, "zorder": 3},
    }
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    named: set[str] = set()
    for label, curve, style in trials:
        name = label if style == "best" else style
        marks = "o" if len(curve) == 1 or style == "pruned" else None
        epochs, heights = zip(*curve, strict=True)
        shown = "_nolegend_" if name in named else name
        named.add(name)
        markers: dict[str, Any] = {
            "marker": marks,
            "markersize": 3.5,
            "markevery": [len(curve) - 1],
        }
        axes.plot(epochs, heights, label=shown, **markers, **styles[style])
    axes.set_xlabel("epoch")
    axes.set_ylabel(objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _soften(axes)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def shares(values: Mapping[str, float]) -> Figure:
    """Draw shares of a whole as bars, the largest on top."""
    names = sorted(values, key=lambda name: values[name])
    figure = Figure(figsize=(6.4, 0.9 + 0.42 * len(names)))
    axes = figure.subplots()
    bars = axes.barh(names, [values[name] for name in names], color=ACCENT, height=0.62)
    axes.bar_label(bars, [f"{values[name]:.0%}" for name in names], padding=4, fontsize=9)
    axes.set_xlim(0, 1.08 * max(values.values()) + 0.02)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _draw_line(canvas: Axes, heights: Sequence[float], colour: Any, width: float) -> None:
    """Draw a smooth line through heights at 0, 1, 2, ..., level where it meets an axis."""
    points, codes = [(0.0, heights[0])], [Curve.MOVETO]
    for number, (left, right) in enumerate(pairwise(heights)):
        points += [(number + 0.4, left), (number + 0.6, right), (number + 1.0, right)]
        codes += [Curve.CURVE4] * 3
    style: dict[str, Any] = {
        "edgecolor": colour,
        "facecolor": "none",
        "linewidth": width,
        "capstyle": "round",
    }
    canvas.add_patch(PathPatch(Curve(points, codes), **style))


def _draw_axis(canvas: Axes, number: int, axis: Axis) -> None:
    canvas.plot([number, number], [0, 1], color=_INK, linewidth=1.1, zorder=5)
    canvas.text(number, 1.045, axis.name, ha="center", va="bottom", fontsize=9, weight="bold")
    box: dict[str, Any] = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.0}
    for height, text in axis.ticks():
        style: dict[str, Any] = {"fontsize": 8, "color": _INK, "zorder": 6, "bbox": box}
        if axis.choices:  # below its bundle, so that no line is hidden
            below = height - axis.spread / 2 - 0.012
            canvas.text(number, below, text, ha="center", va="top", **style)
            continue
        canvas.plot([number - 0.012, number + 0.012], [height, height], color=_INK, zorder=5)
        canvas.text(number + 0.03, height, text, va="center", **style)


def _trimmed() -> ListedColormap:
    """Return the colours that lines have: the palest would not be seen on white."""
    return ListedColormap(_COLOURS(np.linspace(0.08, 1.0, 128)))


def _soften(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
