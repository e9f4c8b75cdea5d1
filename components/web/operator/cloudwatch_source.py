"""Live figures from CloudWatch, where the endpoint's lines become metrics.

Most metrics carry the model version as a dimension, which changes with every deployment; so
they are searched for, and what versions of one period said is put together: counts are
added, of latencies the worst counts. Names and dimensions: components/inference/metrics.py;
alarms: ci/stacks/observe.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from components.web.operator.asking import asking
from components.web.operator.live import (
    PERIODS_S,
    PHASES,
    Alarm,
    Buckets,
    Hours,
    Live,
    Threshold,
    median,
)

_NAMESPACE = "visionloop"
_DIMENSIONS = ("EndpointName", "VariantName", "ModelVersion")
_COUNTS = ("Requests", "Images", "TelemetryDropped")
_LATENCIES = tuple(f"{phase}Latency" for phase in PHASES)
_NAMED = {"Errors": "ErrorKind", "RequestsByStatus": "StatusClass", "Predictions": "Label"}
# Alarms look at these, so they stand under endpoint and variant alone, too.
_WATCHED = (
    ("Confidence", "p50"),
    ("Confidence", "p10"),
    ("DriftPValue", "Minimum"),
    ("IsDrift", "Maximum"),
    ("DriftWindow", "Maximum"),
)
# Pages ask every ten seconds, each of their readers; CloudWatch bills every metric.
_KEPT_S = 30.0
_BETWEEN = "|"  # in labels; no metric's name has it
_ALARMS = ("drift-p-value", "drift-share", "low-confidence", "endpoint-5xx", "endpoint-latency")


@dataclass(frozen=True)
class CloudWatch:
    """client: boto3's for CloudWatch. clock: seconds since the epoch."""

    endpoint: str
    client: Any
    clock: Callable[[], float]
    _kept: dict[Hours, Live] = field(default_factory=dict)

    def read(self, hours: Hours) -> Live:
        found = self._kept.get(hours)
        if found is None or self.clock() - found.until.timestamp() >= _KEPT_S:
            found = self._kept[hours] = self._read(hours)
        return found

    def _read(self, hours: Hours) -> Live:
        now_s, period_s = self.clock(), PERIODS_S[hours]
        until = datetime.fromtimestamp(now_s, UTC)
        buckets = Buckets(now_s - hours * 3600, period_s)
        with asking("CloudWatch"):
            for found in self._found(period_s, until - timedelta(hours=hours), until):
                _add(buckets, found)
            alarms = self._alarms()
        return self._live(hours, until, buckets, alarms)

    def _found(
        self, period_s: int, since: datetime, until: datetime
    ) -> Iterator[Mapping[str, Any]]:
        pages = self.client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[*self._searches(period_s), *self._watched(period_s)],
            StartTime=since,
            EndTime=until,
            ScanBy="TimestampAscending",
        )
        for page in pages:
            yield from page["MetricDataResults"]

    def _searches(self, period_s: int) -> Iterator[dict[str, Any]]:
        asked: list[tuple[str, str, tuple[str, ...], str]] = [
            ("counts", "", _COUNTS, "Sum"),
            ("entropy", "", ("Entropy",), "p50"),
            ("p50", "", _LATENCIES, "p50"),
            ("p99", "", _LATENCIES, "p99"),
        ]
        asked += [(name.lower(), by, (name,), "Sum") for name, by in _NAMED.items()]
        for query, by, metrics, statistic in asked:
            dimensions = ",".join(
                ["EndpointName", "VariantName", "ModelVersion", *([by] * bool(by))]
            )
            names = " OR ".join(f'"{name}"' for name in metrics)
            search = (
                f'{{{_NAMESPACE},{dimensions}}} EndpointName="{self.endpoint}" MetricName=({names})'
            )
            name = f"${{PROP('Dim.{by}')}}" if by else ""
            yield {
                "Id": query,
                "Expression": f"SEARCH('{search}', '{statistic}', {period_s})",
                "Label": f"{statistic}{_BETWEEN}${{PROP('MetricName')}}{_BETWEEN}{name}",
            }

    def _watched(self, period_s: int) -> Iterator[dict[str, Any]]:
        dimensions = [
            {"Name": "EndpointName", "Value": self.endpoint},
            {"Name": "VariantName", "Value": "main"},  # as components/deploy names it
        ]
        for metric, statistic in _WATCHED:
            yield {
                "Id": f"{metric}_{statistic}".lower(),
                "Label": f"{statistic}{_BETWEEN}{metric}{_BETWEEN}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": _NAMESPACE,
                        "MetricName": metric,
                        "Dimensions": dimensions,
                    },
                    "Period": period_s,
                    "Stat": statistic,
                },
            }

    def _alarms(self) -> list[Mapping[str, Any]]:
        names = [f"{self.endpoint}-{name}" for name in _ALARMS]
        said = self.client.describe_alarms(AlarmNames=names, AlarmTypes=["MetricAlarm"])
        return list(said.get("MetricAlarms", []))

    def _live(
        self, hours: Hours, until: datetime, buckets: Buckets, alarms: list[Mapping[str, Any]]
    ) -> Live:
        p_value = next((a for a in alarms if a["AlarmName"].endswith("-drift-p-value")), None)
        phases = [(f"{phase}Latency", phase.lower()) for phase in PHASES]
        return Live(
            endpoint=self.endpoint,
            source="CloudWatch",
            hours=hours,
            period_s=PERIODS_S[hours],
            until=until,
            requests=buckets.series("Sum|Requests", sum, title="Requests"),
            images=buckets.series("Sum|Images", sum, title="Images"),
            dropped=buckets.series("Sum|TelemetryDropped", sum, title="TelemetryDropped"),
            latency_p50=[buckets.series(f"p50|{m}", max, title=title) for m, title in phases],
            latency_p99=[buckets.series(f"p99|{m}", max, title=title) for m, title in phases],
            errors=buckets.by_name("Sum|Errors"),
            statuses=buckets.by_name("Sum|RequestsByStatus"),
            confidence=[
                buckets.series("p50|Confidence", median, title="median"),
                buckets.series("p10|Confidence", median, title="lower tenth"),
            ],
            entropy=buckets.series("p50|Entropy", median, title="Entropy"),
            classes=buckets.by_name("Sum|Predictions"),
            p_value=buckets.series("Minimum|DriftPValue", min, title="DriftPValue"),
            is_drift=buckets.series("Maximum|IsDrift", max, title="IsDrift"),
            window=buckets.series("Maximum|DriftWindow", max, title="DriftWindow"),
            thresholds=[Threshold(name="the alarm rings below", value=p_value["Threshold"])]
            if p_value and "Threshold" in p_value
            else [],
            alarms=[
                Alarm(name=a["AlarmName"], state=a["StateValue"], reason=a.get("StateReason", ""))
                for a in alarms
            ],
        )


def _add(buckets: Buckets, found: Mapping[str, Any]) -> None:
    statistic, _, rest = found.get("Label", "").partition(_BETWEEN)
    metric, _, name = rest.partition(_BETWEEN)
    for moment, value in zip(found["Timestamps"], found["Values"], strict=True):
        buckets.add(f"{statistic}{_BETWEEN}{metric}", name, moment.timestamp(), [float(value)])
