"""CloudWatch metrics in embedded metric format, one set of lines an interval.

`MetricsWindow` adds up what the records say and gives the lines; aws-lambda-powertools
writes the format. On an endpoint CloudWatch takes them from stdout with no API call.

Namespace visionloop, dimensions EndpointName, VariantName, ModelVersion; besides:
ErrorKind, Label, ImageFormat, StatusClass, each in lines of its own. What alarms look at
(Confidence, all of drift) stands also under EndpointName and VariantName alone: an alarm
has to name every dimension, and outlives a model version.
Format and limits: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from components.inference.records import (
    AnswerRecord,
    ImageRecord,
    RequestRecord,
    TallyRecord,
)

NAMESPACE = "visionloop"
PHASES = ("queue", "decode", "forward", "encode")  # of a worker
# The format takes 100 values a metric; the library prints by itself at the hundredth.
MOST_VALUES = 99
MOST_NAMES = 100  # values of one dimension an interval; the rest are counted as "other"
_OTHER = "other"
_COUNTED = {
    "StatusClass": "RequestsByStatus",
    "ErrorKind": "Errors",
    "Label": "Predictions",
    "ImageFormat": "ImagesByFormat",
}
Item = TypeVar("Item")
_UNITS = {
    **{f"{phase.capitalize()}Latency": "Milliseconds" for phase in (*PHASES, "total")},
    "Confidence": "None",
    "Entropy": "None",
    "ImageBytes": "Bytes",
    "ImagePixels": "Count",
    "RequestBytes": "Bytes",
}


class UniformSample(Generic[Item]):
    """A uniform sample of at most `MOST_VALUES` of all items seen (algorithm R)."""

    def __init__(self, dice: random.Random) -> None:
        self.items: list[Item] = []
        self.seen = 0
        self._dice = dice

    def add(self, item: Item) -> None:
        self.seen += 1
        if self.seen <= MOST_VALUES:
            self.items.append(item)
        elif (place := int(self._dice.random() * self.seen)) < MOST_VALUES:
            self.items[place] = item


class MetricsWindow:
    """What happened since the last lines.

    dimensions: EndpointName, VariantName, ModelVersion.
    """

    def __init__(self, dimensions: Mapping[str, str], dice: random.Random | None = None) -> None:
        self._dimensions = dict(dimensions)
        self._dice = dice or random.Random()  # noqa: S311 - a sample, not a secret
        self._clear()

    def _clear(self) -> None:
        self.counts: Counter[str] = Counter({"Requests": 0, "Images": 0, "TelemetryDropped": 0})
        # Whole records: sampling each of their ten numbers would cost ten times as much.
        self._requests = UniformSample[RequestRecord](self._dice)
        self._answers = UniformSample[AnswerRecord](self._dice)
        self._images = UniformSample[ImageRecord](self._dice)
        self._named: dict[str, Counter[str]] = {}

    def add_request(self, record: RequestRecord) -> None:
        """Count what the front says of one request."""
        self.counts["Requests"] += 1
        self.counts["TelemetryDropped"] += record.dropped
        self._count("StatusClass", f"{record.status // 100}xx")
        if record.error:
            self._count("ErrorKind", record.error)
        self._requests.add(record)

    def add_answer(self, record: AnswerRecord) -> None:
        """Count what a worker says of one request."""
        self.counts["TelemetryDropped"] += record.dropped
        if record.phases_ms and record.is_sample:
            self._answers.add(record)
        for image in record.images:
            self._add_image(image, record.is_sample)

    def add_tally(self, record: TallyRecord) -> None:
        """Count what was not told one by one."""
        self.counts["TelemetryDropped"] += record.dropped
        self.counts["Requests"] += sum(record.counts.get("StatusClass", {}).values())
        self.counts["Images"] += sum(record.counts.get("Label", {}).values())
        for dimension in _COUNTED:
            for name, count in record.counts.get(dimension, {}).items():
                self._count(dimension, name, count)

    def _add_image(self, image: ImageRecord, is_sample: bool) -> None:
        self.counts["Images"] += 1
        self._count("Label", image.label)
        self._count("ImageFormat", image.format)
        if is_sample:
            self._images.add(image)
        if image.reasons and not image.kept:
            self.counts["ReviewImagesLost"] += 1

    def add(self, name: str, count: int) -> None:
        """Add to a count of the collector's own."""
        self.counts[name] += count

    def _count(self, dimension: str, name: str, count: int = 1) -> None:
        names = self._named.setdefault(dimension, Counter())
        # CloudWatch refuses empty and non-ASCII values and those above 1,024 characters.
        name = name.encode("ascii", "replace").decode().strip()[:100] or _OTHER
        names[name if name in names or len(names) < MOST_NAMES - 1 else _OTHER] += count

    def lines(self, time_s: float) -> list[str]:
        """Return the interval's lines and start the next.

        Lines stay below 4 KiB (PIPE_BUF), so that other writers' cannot cut them.
        """
        counts = {name: ([count], "Count") for name, count in self.counts.items()}
        lines = [emf_line(self._dimensions, counts, time_s)]
        for name, values, seen in self._sampled():
            if values:
                metric = {name: ([float(f"{value:.5g}") for value in values], _UNITS[name])}
                # A sample has at most 99 values, however many records came.
                properties = {f"{name}Seen": seen}
                is_watched = name == "Confidence"
                lines.append(emf_line(self._dimensions, metric, time_s, properties, is_watched))
        lines += self._named_lines(time_s)
        self._clear()
        return lines

    def _sampled(self) -> Iterator[tuple[str, list[float], int]]:
        """Yield each metric with its sampled values and how many there were."""
        requests, answers, images = self._requests, self._answers, self._images
        yield "TotalLatency", [r.total_ms for r in requests.items], requests.seen
        yield "RequestBytes", [r.bytes_in for r in requests.items], requests.seen
        for phase in PHASES:
            values = [a.phases_ms[phase] for a in answers.items if phase in a.phases_ms]
            yield f"{phase.capitalize()}Latency", values, answers.seen
        yield "Confidence", [i.confidence for i in images.items], images.seen
        yield "Entropy", [i.entropy for i in images.items], images.seen
        yield "ImageBytes", [i.bytes for i in images.items], images.seen
        yield "ImagePixels", [i.width * i.height for i in images.items], images.seen

    def _named_lines(self, time_s: float) -> Iterator[str]:
        for dimension, names in self._named.items():
            for name, count in names.items():
                dimensions = self._dimensions | {dimension: name}
                metric = {_COUNTED[dimension]: ([float(count)], "Count")}
                yield emf_line(dimensions, metric, time_s)


def emf_line(
    dimensions: Mapping[str, str],
    metrics: Mapping[str, tuple[list[Any], str]],
    time_s: float,
    properties: Mapping[str, Any] | None = None,
    is_watched: bool = False,
) -> str:
    """Return one line of embedded metric format, without its end.

    metrics: values and unit by name; properties: searchable in the log, no metrics.
    is_watched: also under the dimensions without ModelVersion, for alarms.
    """
    provider = AmazonCloudWatchEMFProvider(namespace=NAMESPACE)
    provider.service = ""  # else an environment variable would add a dimension
    provider.set_timestamp(int(time_s * 1000))
    for name, value in dimensions.items():
        provider.add_dimension(name, value)
    if is_watched:
        provider.add_dimensions(**{n: v for n, v in dimensions.items() if n != "ModelVersion"})
    for name, (values, unit) in metrics.items():
        for value in values:
            provider.add_metric(name, unit, value)
    for name, value in (properties or {}).items():
        provider.add_metadata(name, value)
    line: str = json.dumps(provider.serialize_metric_set(), separators=(",", ":"))
    return line
