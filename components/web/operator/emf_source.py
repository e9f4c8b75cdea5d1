"""Live figures from the lines that the endpoint leaves below its sink, where no CloudWatch is.

components/inference/emitter.py writes `metrics/<time>-<random>.jsonl`, at most ten of a
mebibyte; each line is CloudWatch's embedded metric format.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.web.errors import NotFound
from components.web.operator.asking import asking
from components.web.operator.live import (
    PERIODS_S,
    PHASES,
    Buckets,
    Hours,
    Live,
    Threshold,
    median,
    nearly_all,
    tenth,
)
from shared.component.object_store import ObjectStore, open_store

NAMESPACE = "visionloop"
_FOLDER = "metrics/"
_TIME = re.compile(rb'"Timestamp":(\d+)')
_NAMING = ("ErrorKind", "Label", "StatusClass", "ImageFormat")  # dimensions that name a series
_THRESHOLD = "DriftThreshold"


@dataclass(frozen=True)
class EmfFiles:
    """sink: of the endpoint. clock: seconds since the epoch."""

    endpoint: str
    sink: str
    s3: Any
    clock: Callable[[], float]

    def read(self, hours: Hours) -> Live:
        if not self.sink:
            raise NotFound("live: no place of metrics is named; start the pages with --sink")
        now_s, period_s = self.clock(), PERIODS_S[hours]
        since_s = now_s - hours * 3600
        buckets, threshold = Buckets(since_s, period_s), None
        with asking("metrics"):
            for body in _lines(open_store(self.sink, self.s3), since_s):
                _add(buckets, body)
                threshold = next(iter(_numbers(body.get(_THRESHOLD))), threshold)
        thresholds = [Threshold(name="threshold of the test", value=threshold)] if threshold else []
        return Live(
            endpoint=self.endpoint,
            source="files below the endpoint's sink",
            hours=hours,
            period_s=period_s,
            until=datetime.fromtimestamp(now_s, UTC),
            requests=buckets.series("Requests", sum),
            images=buckets.series("Images", sum),
            dropped=buckets.series("TelemetryDropped", sum),
            latency_p50=[buckets.series(f"{p}Latency", median, title=p.lower()) for p in PHASES],
            latency_p99=[
                buckets.series(f"{p}Latency", nearly_all, title=p.lower()) for p in PHASES
            ],
            errors=buckets.by_name("Errors"),
            statuses=buckets.by_name("RequestsByStatus"),
            confidence=[
                buckets.series("Confidence", median, title="median"),
                buckets.series("Confidence", tenth, title="lower tenth"),
            ],
            entropy=buckets.series("Entropy", median),
            classes=buckets.by_name("Predictions"),
            p_value=buckets.series("DriftPValue", min),
            is_drift=buckets.series("IsDrift", max),
            window=buckets.series("DriftWindow", max),
            thresholds=thresholds,
        )


def _lines(store: ObjectStore, since_s: float) -> Iterator[Mapping[str, Any]]:
    """Yield what was reported since, in the order of time; a damaged line is left out."""
    for entry in store.list(_FOLDER):
        if not entry.key.endswith(".jsonl") or entry.modified_s < since_s:
            continue
        for line in (store.get(entry.key) or b"").splitlines():
            moment = _TIME.search(line)
            if moment is None or int(moment[1]) / 1000 < since_s:
                continue
            try:
                body = json.loads(line)
                names = [m["Name"] for m in body["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
                is_whole = isinstance(body["_aws"]["Timestamp"], int) and bool(names)
            except (ValueError, KeyError, TypeError, IndexError):
                continue  # the last line may be half written
            if is_whole:
                yield body


def _add(buckets: Buckets, body: Mapping[str, Any]) -> None:
    said = body["_aws"]
    directive = said["CloudWatchMetrics"][0]
    if directive.get("Namespace") != NAMESPACE:
        return
    name = next((str(body[dimension]) for dimension in _NAMING if dimension in body), "")
    for metric in directive["Metrics"]:
        values = _numbers(body.get(metric["Name"]))
        buckets.add(metric["Name"], name, said["Timestamp"] / 1000, values)


def _numbers(found: Any) -> list[float]:
    """Return the numbers of a value or a list of values."""
    values = found if isinstance(found, list) else [found]
    is_number = [isinstance(v, (int, float)) and math.isfinite(v) for v in values]
    return [float(v) for v, fits in zip(values, is_number, strict=True) if fits]
