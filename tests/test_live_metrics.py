"""What the endpoint reports is what the pages show: one writes the lines, the other reads them."""

from __future__ import annotations

import random
import time
from pathlib import Path

import yaml

from ci.templates import STACKS
from components.inference import metrics
from components.inference.emitter import Emitter
from components.inference.records import AnswerRecord, ImageRecord, RequestRecord
from components.web.operator import cloudwatch_source, emf_source, live
from components.web.operator.emf_source import EmfFiles
from components.web.operator.live import Hours

NOW_S = time.time()  # the library refuses another year
DIMENSIONS = {"EndpointName": "scenes", "VariantName": "main", "ModelVersion": "2"}


def lines() -> list[str]:
    """Return an interval's lines with a good request and a bad one, and a drift test's."""
    window = metrics.MetricsWindow(DIMENSIONS, random.Random(0))  # noqa: S311 - a sample
    image = ImageRecord("", "JPEG", 32, 32, 900, "sea", 0.75, 0.5)
    phases = dict.fromkeys(metrics.PHASES, 2.0)
    window.add_request(RequestRecord(NOW_S, "r", 200, "", 9.0, 900, "image/jpeg"))
    window.add_request(RequestRecord(NOW_S, "r", 422, "ImageError", 1.0, 9, "image/jpeg", 3))
    window.add_answer(AnswerRecord(NOW_S, "r", "2", phases, [image]))
    drift = {"DriftPValue": ([0.01], "None"), "IsDrift": ([1.0], "Count")}
    told = {"DriftThreshold": 0.046}
    return [*window.lines(NOW_S), metrics.emf_line(DIMENSIONS, drift, NOW_S, told, True)]


def test_what_the_endpoint_emits_is_shown(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path / "metrics")
    emitter.emit(lines())
    found = EmfFiles("scenes", str(tmp_path), None, lambda: NOW_S + 30).read(Hours.ONE)
    assert found.requests.total == 2
    assert found.dropped.total == 3
    assert found.latency_p50[0].last == 5.0
    assert {series.name: series.last for series in found.latency_p50[1:]} == dict.fromkeys(
        metrics.PHASES, 2.0
    )
    assert [(s.name, s.total) for s in found.errors] == [("ImageError", 1)]
    assert [(s.name, s.total) for s in found.classes] == [("sea", 1)]
    assert {s.name for s in found.statuses} == {"2xx", "4xx"}
    assert found.confidence[0].last == 0.75
    assert found.entropy.last == 0.5
    assert (found.p_value.last, found.is_drift.last) == (0.01, 1.0)
    assert found.thresholds[0].value == 0.046


def test_both_sources_ask_for_names_that_the_endpoint_gives() -> None:
    assert emf_source.NAMESPACE == cloudwatch_source._NAMESPACE == metrics.NAMESPACE
    assert {phase.lower() for phase in live.PHASES} == {"total", *metrics.PHASES}
    assert {by: name for name, by in cloudwatch_source._NAMED.items()}.items() <= (
        metrics._COUNTED.items()
    )


def test_the_alarms_that_are_shown_are_those_of_the_stack() -> None:
    template = yaml.load((STACKS / "observe.yaml").read_text(), yaml.BaseLoader)  # noqa: S506
    names = {
        resource["Properties"]["AlarmName"].removeprefix("${Project}-${Stage}-")
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert set(cloudwatch_source._ALARMS) <= names
