"""Which charts the live page shows, and the last values beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.web.operator import charts, words
from components.web.operator.charts import Axis, Chart, Line
from components.web.operator.live import Live, Point, Series

_TICK_H = {1: 0.25, 6: 1, 24: 6, 168: 24}


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured last, and when."""

    name: str
    value: str
    when: datetime | None
    is_alarming: bool = False


def live_charts(live: Live) -> list[Chart]:
    """Return the charts in the order of the page; empty ones are left out."""
    found = [
        _drift(live),
        _confidence(live),
        _classes(live),
        _requests(live),
        _latency(live, "p50", live.latency_p50),
        _latency(live, "p99", live.latency_p99),
        _counts(live, "Errors", "Requests refused or failed, by kind of error.", live.errors),
        _entropy(live),
        _counts(
            live,
            "Telemetry lost",
            "Reports that the endpoint dropped: so many requests are missing above.",
            [live.dropped] if live.dropped.total else [],
        ),
    ]
    return [chart for chart in found if not chart.is_empty]


def last_values(live: Live) -> list[Row]:
    """Return the figures of the table beside the charts."""
    last, p_value = live.is_drift.last, live.p_value
    is_drift = bool(last)
    rows = [
        Row("requests in this time", f"{live.requests.total:,.0f}", None),
        Row("images in this time", f"{live.images.total:,.0f}", None),
        _row("requests a minute", live.requests, lambda v: f"{v * 60 / live.period_s:,.3g}"),
        *(_row(f"latency p50, {s.name}", s, _ms) for s in live.latency_p50[:1]),
        *(_row(f"latency p99, {s.name}", s, _ms) for s in live.latency_p99[:1]),
        *(_row(f"confidence, {s.name}", s, words.percent) for s in live.confidence),
        _row("entropy, median", live.entropy, lambda v: f"{v:.3f} nats"),
    ]
    errors = sum(series.total for series in live.errors)
    rows.append(Row("errors in this time", f"{errors:,.0f}", None, errors > 0))
    rows.append(Row("telemetry lost", f"{live.dropped.total:,.0f}", None, live.dropped.total > 0))
    if p_value.points:
        when = p_value.points[-1].time
        rows.append(Row("drift p-value", f"{p_value.points[-1].value:.3g}", when, is_drift))
        rows.append(Row("drift found", "yes" if is_drift else "no", when, is_drift))
        rows.append(_row("images a test", live.window, lambda v: f"{v:.0f}"))
    return rows


def class_shares(live: Live) -> list[tuple[str, int, float]]:
    """Return each class with its images and their share of all, the most frequent first."""
    total = sum(series.total for series in live.classes) or 1.0
    return [(s.name, round(s.total), s.total / total) for s in live.classes]


def _drift(live: Live) -> Chart:
    drifted = {p.time for p in live.is_drift.points if p.value}
    points = live.p_value.points
    marked = frozenset(n for n, p in enumerate(points) if p.time in drifted)
    values = [p.value for p in points] + [t.value for t in live.thresholds]
    found = f"{len(marked)} of {len(points)} periods found drift (triangles)."
    return Chart(
        title="Drift",
        description=f"Least p-value of the drift tests a period, logarithmic. {found}",
        lines=[Line("p-value", _xy(points), marked)],
        x=_time(live),
        y=charts.decades("p-value", values),
        step=live.period_s,
        limits=[(t.value, f"{t.name} {t.value:.2g}") for t in live.thresholds],
        is_log=True,
    )


def _confidence(live: Live) -> Chart:
    return Chart(
        title="Confidence",
        description="How sure the model is of its answers: the median, and what a tenth is below.",
        lines=_lines(live.confidence),
        x=_time(live),
        y=charts.shares("confidence"),
        step=live.period_s,
    )


def _entropy(live: Live) -> Chart:
    lines = _lines([live.entropy])
    return Chart(
        title="Entropy",
        description="Median entropy of the answers: 0 is certainty.",
        lines=lines,
        x=_time(live),
        y=charts.linear("nats", charts.maximum(lines)),
        step=live.period_s,
    )


def _classes(live: Live) -> Chart:
    """Show the classes, the rare ones together where there are more than look different."""
    most = charts.STYLES if len(live.classes) <= charts.STYLES else charts.STYLES - 1
    shown, rest = live.classes[:most], live.classes[most:]
    lines = _lines(shown)
    if rest:
        sums: dict[float, float] = {}
        for series in rest:
            for x, y in _xy(series.points):
                sums[x] = sums.get(x, 0.0) + y
        lines.append(Line(f"{len(rest)} others", sorted(sums.items())))
    return _stacked(live, "Answers by class", "Images a period, by the class given.", lines)


def _requests(live: Live) -> Chart:
    lines = _lines([live.requests])
    return _stacked(live, "Requests", "Requests a period.", lines)


def _counts(live: Live, title: str, description: str, series: Sequence[Series]) -> Chart:
    return _stacked(live, title, description, _lines(series[: charts.STYLES]))


def _stacked(live: Live, title: str, description: str, lines: Sequence[Line]) -> Chart:
    minutes = live.period_s // 60
    label = "a minute" if minutes == 1 else f"in {minutes} minutes"
    return Chart(
        title=title,
        description=description,
        lines=lines,
        x=_time(live),
        y=charts.linear(label, charts.maximum(lines, "bars"), 4),
        step=live.period_s,
        kind="bars",
    )


def _latency(live: Live, share: str, series: Sequence[Series]) -> Chart:
    lines = _lines([s for s in series if s.points])
    return Chart(
        title=f"Latency, {share}",
        description=f"Milliseconds a request takes, {share}, in total and by phase.",
        lines=lines,
        x=_time(live),
        y=charts.linear("ms", charts.maximum(lines)),
        step=live.period_s,
    )


def _time(live: Live) -> Axis:
    """Return the axis of time, with round hours of UTC."""
    until, hours = live.until, _TICK_H[live.hours]
    since = until - timedelta(hours=live.hours)
    begin = since.replace(minute=0, second=0, microsecond=0)
    if hours >= 6:
        begin = begin.replace(hour=0)
    step, ticks = timedelta(hours=hours), []
    while begin <= until:
        if begin >= since:
            word = f"{begin:%a %d}" if hours >= 24 else f"{begin:%H:%M}"
            ticks.append((begin.timestamp(), word))
        begin += step
    return Axis(since.timestamp(), until.timestamp(), ticks, "UTC")


def _lines(series: Sequence[Series]) -> list[Line]:
    return [Line(each.name, _xy(each.points)) for each in series]


def _xy(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(point.time.astimezone(UTC).timestamp(), point.value) for point in points]


def _row(name: str, series: Series, show: Callable[[float], str]) -> Row:
    if not series.points:
        return Row(name, "none", None)
    return Row(name, show(series.points[-1].value), series.points[-1].time)


def _ms(value: float) -> str:
    return f"{value:,.3g} ms"
