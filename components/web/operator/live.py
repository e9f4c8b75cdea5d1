"""What the endpoint reports of itself, as time series, from wherever its metrics are.

components/inference names the metrics. Two sources answer alike: the lines that the endpoint
leaves below its sink (emf_source.py), and CloudWatch (cloudwatch_source.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol

from components.web.operator.records import Record


class Hours(IntEnum):
    """How far one may look back."""

    ONE = 1
    SIX = 6
    DAY = 24
    WEEK = 168


# Seconds a point stands for; CloudWatch takes multiples of a minute.
PERIODS_S: Mapping[int, int] = {1: 60, 6: 300, 24: 900, 168: 3600}
PHASES = ("Total", "Queue", "Decode", "Forward", "Encode")


class Point(Record):
    """time: begin of the period that the value is of."""

    time: datetime
    value: float


class Series(Record):
    name: str
    points: list[Point]

    @property
    def last(self) -> float | None:
        return self.points[-1].value if self.points else None

    @property
    def total(self) -> float:
        return sum(point.value for point in self.points)


class Threshold(Record):
    """Below value of what rings or counts as drift."""

    name: str
    value: float


class Alarm(Record):
    """An alarm of CloudWatch; state: OK, ALARM, INSUFFICIENT_DATA."""

    name: str
    state: str
    reason: str = ""


class Live(Record):
    """Figures of the last hours; a list without points: nothing was reported.

    requests, images, dropped: counts a period; dropped: telemetry that was lost.
    latency_p50, latency_p99: milliseconds by phase. errors, statuses, classes: counts by
    name. confidence: median and lower tenth, in [0, 1]. entropy: median, nats.
    p_value: least of a period. is_drift: 1 where a test of the period found drift.
    window: images a test was made on.
    """

    endpoint: str
    source: str
    hours: int
    period_s: int
    until: datetime
    requests: Series
    images: Series
    dropped: Series
    latency_p50: list[Series]
    latency_p99: list[Series]
    errors: list[Series]
    statuses: list[Series]
    confidence: list[Series]
    entropy: Series
    classes: list[Series]
    p_value: Series
    is_drift: Series
    window: Series
    thresholds: tuple[Threshold, ...] = ()
    alarms: tuple[Alarm, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.requests.total or self.p_value.points or self.classes)


class LiveSource(Protocol):
    """Where the endpoint's metrics are."""

    def read(self, hours: Hours) -> Live:
        """Return the figures of the last hours.

        Raises:
            WebError: the source is away.
        """
        ...


class Buckets:
    """Values of one named series, put together by period."""

    def __init__(self, since_s: float, period_s: int) -> None:
        self._period_s = period_s
        # Periods begin where CloudWatch's do: at multiples of their length.
        self._first_s = since_s - since_s % period_s
        self._values: dict[tuple[str, str], dict[float, list[float]]] = {}

    def add(self, metric: str, name: str, time_s: float, values: list[float]) -> None:
        """Take values; name: of a kind, a label, "" where the metric has none."""
        if time_s < self._first_s:
            return
        begin = time_s - time_s % self._period_s
        series = self._values.setdefault((metric, name), {})
        series.setdefault(begin, []).extend(values)

    def series(
        self, metric: str, merge: Callable[[list[float]], float], name: str = "", title: str = ""
    ) -> Series:
        """Return a metric's series, each period's values made one by `merge`."""
        found = self._values.get((metric, name), {})
        points = [
            Point(time=datetime.fromtimestamp(begin, UTC), value=merge(values))
            for begin, values in sorted(found.items())
            if values
        ]
        return Series(name=title or name or metric, points=points)

    def by_name(self, metric: str) -> list[Series]:
        """Return the sums of a metric by name, the largest first."""
        names = [name for known, name in self._values if known == metric]
        found = [self.series(metric, sum, name) for name in names]
        return sorted(found, key=lambda series: (-series.total, series.name))


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies, between neighbours linearly."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: list[float]) -> float:
    return percentile(values, 0.5)


def tenth(values: list[float]) -> float:
    return percentile(values, 0.1)


def nearly_all(values: list[float]) -> float:
    return percentile(values, 0.99)
