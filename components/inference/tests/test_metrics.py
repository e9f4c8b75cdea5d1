"""The lines keep to CloudWatch's embedded metric format and the sums are right."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from components.inference.metrics import MetricsWindow, emf_line
from components.inference.tests.telemetry_factories import a_request, an_answer, an_image

DIMENSIONS = {"EndpointName": "e", "VariantName": "v", "ModelVersion": "7"}
UNITS = {"Count", "None", "Milliseconds", "Bytes"}


def read_emf(line: str) -> dict[str, Any]:
    """Check a line against the specification; return the values, dimensions, properties."""
    assert "\n" not in line
    assert len(line) < 4096, "a pipe would not take it in one piece"
    document: dict[str, Any] = json.loads(line)
    assert abs(document["_aws"]["Timestamp"] / 1000 - time.time()) < 3600
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "visionloop"
    dimensions, *watched = directive["Dimensions"]
    assert watched in ([], [["EndpointName", "VariantName"]])
    assert 3 <= len(dimensions) <= 30
    for name in dimensions:
        assert isinstance(document[name], str)
        assert 1 <= len(document[name]) <= 1024
        assert document[name].isascii()
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert metric["Unit"] in UNITS
        values = document[metric["Name"]]
        assert 1 <= len(values) <= 100
        assert all(isinstance(value, float) for value in values)
    return document


def by_name(lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for document in map(read_emf, lines):
        for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
            found.setdefault(metric["Name"], []).append(document)
    return found


@pytest.fixture
def window():
    return MetricsWindow(DIMENSIONS)


def test_an_interval_without_traffic_says_so(window):
    found = by_name(window.lines(time.time()))
    assert found["Requests"][0]["Requests"] == [0]
    assert {d: found["Requests"][0][d] for d in DIMENSIONS} == DIMENSIONS


def test_requests_errors_classes_and_formats_are_counted_apart(window):
    window.add_request(a_request(dropped=2))
    window.add_request(a_request(status=422, error="undecodable"))
    window.add_request(a_request(status=422, error="undecodable"))
    window.add_answer(an_answer(an_image(), an_image(label="dog", format="PNG"), dropped=5))
    found = by_name(window.lines(time.time()))
    (totals,) = found["Requests"]
    assert [totals[n] for n in ("Requests", "Images", "TelemetryDropped")] == [[3], [2], [7]]

    def counts(metric: str, dimension: str) -> dict[str, float]:
        return {d[dimension]: d[metric][0] for d in found[metric]}

    assert counts("RequestsByStatus", "StatusClass") == {"2xx": 1, "4xx": 2}
    assert counts("Errors", "ErrorKind") == {"undecodable": 2}
    assert counts("Predictions", "Label") == {"cat": 1, "dog": 1}
    assert counts("ImagesByFormat", "ImageFormat") == {"JPEG": 1, "PNG": 1}


def test_phases_and_images_are_measured_in_their_units(window):
    window.add_request(a_request(total_ms=4.25))
    window.add_answer(an_answer())
    found = by_name(window.lines(time.time()))
    expected = {
        "TotalLatency": (4.25, "Milliseconds"),
        "QueueLatency": (0.1, "Milliseconds"),
        "DecodeLatency": (0.3, "Milliseconds"),
        "ForwardLatency": (1.5, "Milliseconds"),
        "EncodeLatency": (0.05, "Milliseconds"),
        "Confidence": (0.9, "None"),
        "Entropy": (0.3, "None"),
        "ImageBytes": (5000, "Bytes"),
        "ImagePixels": (15000, "Count"),
        "RequestBytes": (5000, "Bytes"),
    }
    for name, (value, unit) in expected.items():
        (document,) = found[name]
        assert document[name] == [value]
        assert document["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] == unit


def test_what_an_alarm_looks_at_stands_also_without_the_model_version(window):
    window.add_request(a_request())
    window.add_answer(an_answer())
    found = by_name(window.lines(time.time()))
    watched = {name for name, (line, *_) in found.items() if _sets(line) != [list(DIMENSIONS)]}
    assert watched == {"Confidence"}
    assert _sets(found["Confidence"][0])[1] == ["EndpointName", "VariantName"]


def _sets(line: dict[str, Any]) -> list[list[str]]:
    """Return the sets of dimensions, less those of lines by label, status and the like."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    return [[n for n in names if n in DIMENSIONS] for names in directive["Dimensions"]]


def test_a_long_interval_keeps_an_even_sample_and_the_exact_count(window, capsys):
    for number in range(10_000):
        window.add_request(a_request(total_ms=float(number)))
    found = by_name(window.lines(time.time()))
    assert found["Requests"][0]["Requests"] == [10_000]
    values = sorted(found["TotalLatency"][0]["TotalLatency"])
    assert found["TotalLatency"][0]["TotalLatencySeen"] == 10_000
    assert len(values) == 99
    assert 3500 < values[49] < 6500  # the median of 99 draws: beyond with less than 1 in 300
    assert capsys.readouterr().out == ""


def test_names_from_outside_are_bounded_in_number_and_shape(window):
    for number in range(500):
        window.add_request(a_request(status=500, error=f"kind {number}"))
    window.add_request(a_request(status=500, error=" "))
    window.add_answer(an_answer(an_image(label="Füchse " * 1000)))
    errors = by_name(window.lines(time.time()))["Errors"]
    assert len(errors) == 100
    assert sum(document["Errors"][0] for document in errors) == 501


def test_an_interval_begins_at_nothing(window):
    window.add_request(a_request(error="x"))
    window.lines(time.time())
    found = by_name(window.lines(time.time()))
    assert found["Requests"][0]["Requests"] == [0]
    assert "Errors" not in found
    assert "TotalLatency" not in found


def test_an_image_that_was_to_be_kept_and_was_not_is_counted(window):
    window.add_answer(an_answer(an_image(reasons=("sampled",))))
    window.add_answer(an_answer(an_image(reasons=("sampled",), kept="x.jpg")))
    assert by_name(window.lines(time.time()))["ReviewImagesLost"][0]["ReviewImagesLost"] == [1]


def test_the_environment_of_the_library_changes_nothing(monkeypatch):
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "other")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "other")
    document = read_emf(emf_line(DIMENSIONS, {"A": ([1.0], "Count")}, time.time(), {"Why": "b"}))
    assert set(document) == {"_aws", *DIMENSIONS, "A", "Why"}
