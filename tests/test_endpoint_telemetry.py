"""The endpoint tells when the world has changed, and what it has answered, off the request path."""

from __future__ import annotations

import gzip
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ci.served import Running, ours, running
from shared.vision.images import decode_rgb
from shared.vision.tests.factories import COLOURS, colour_image, encode
from shared.vision.tests.served import WINDOW, make_served_bundle

NAMES = sorted(COLOURS)
UNRECORDED = encode(np.full((9, 11, 3), 128, np.uint8))  # grey: the model is unsure of it
_DEADLINE_S = 90.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_served_bundle(tmp_path_factory.mktemp("telemetry") / "bundle").folder


@pytest.fixture(scope="module")
def told(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Ask a server clean images, then darkened ones, and stop it; what it said and left."""
    sink = tmp_path_factory.mktemp("sink")
    flags = ("--sink", str(sink), "--drift-interval-s", "0", "--metrics-interval-s", "1")
    flags += ("--endpoint-name", "colours", "--embedding-share", "0.5", "--min-confidence", "90")
    flags += ("--records-per-s", "10")  # so that most are counted only
    with running(ours(bundle, "telemetry", *flags, "--workers", "2"), colour_image("red", 0)) as at:
        before = _ask(at, colour_image("red", 1))["is_drift"]
        clean = _send_until(
            at, lambda n: colour_image(NAMES[n % 3], 700 + n), lambda d: d is not None
        )
        drifted = _send_until(at, lambda n: _darkened(colour_image(NAMES[n % 3], 900 + n)), bool)
        _ask(at, b"no image", expect=422)
        _ask(at, UNRECORDED, attributes="record=false")
    return {"before": before, "clean": clean, "drifted": drifted, "sink": sink}


def _darkened(image: bytes) -> bytes:
    return encode((np.asarray(decode_rgb(image)) * 0.25).astype(np.uint8))


def _send_until(
    at: Running, image: Callable[[int], bytes], is_enough: Callable[[bool | None], bool]
) -> bool | None:
    """Send a window's worth of images over and over until the answers' drift flag is enough."""
    end = time.monotonic() + _DEADLINE_S
    number = 0
    while True:
        for _ in range(WINDOW):
            is_drift: bool | None = _ask(at, image(number))["is_drift"]
            number += 1
        if is_enough(is_drift) or time.monotonic() > end:
            return is_drift
        time.sleep(0.2)  # a test of a window takes seconds; the machine is needed for it


def _ask(at: Running, image: bytes, expect: int = 200, attributes: str = "") -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{at.port}/invocations",
        data=image,
        headers={
            "content-type": "image/png",
            "x-amzn-sagemaker-custom-attributes": attributes,
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            status, body = response.status, response.read()
    except urllib.error.HTTPError as err:
        with err:
            status, body = err.code, err.read()
    assert status == expect
    found: dict[str, Any] = json.loads(body)
    return found


def _metrics(sink: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for part in sorted((sink / "metrics").glob("*.jsonl"))
        for line in part.read_text().splitlines()
    ]


def _values(lines: list[dict[str, Any]], name: str) -> list[float]:
    return [value for line in lines if name in line for value in np.atleast_1d(line[name])]


def test_the_drift_flag_is_unknown_then_false_on_clean_then_true_on_changed_images(
    told: dict[str, Any],
) -> None:
    assert (told["before"], told["clean"], told["drifted"]) == (None, False, True)


def test_drift_is_a_metric_with_what_drifted_named(told: dict[str, Any]) -> None:
    lines = [line for line in _metrics(told["sink"]) if "DriftPValue" in line]
    assert {line["DriftWindow"][0] for line in lines} == {WINDOW}
    assert lines[-1]["IsDrift"] == [1.0]
    assert lines[-1]["DriftPValue"][0] < lines[-1]["DriftThreshold"]
    assert lines[-1]["DriftFeature"].startswith(("component", "confidence", "class mix"))
    assert lines[-1]["DriftClass"] in NAMES
    (group,) = lines[-1]["_aws"]["CloudWatchMetrics"]
    assert group["Dimensions"] == [
        ["EndpointName", "VariantName", "ModelVersion"],
        ["EndpointName", "VariantName"],  # what the alarm of ci/stacks/observe.yaml names
    ]
    assert lines[-1]["EndpointName"] == "colours"


def test_requests_images_and_errors_are_counted_exactly(told: dict[str, Any]) -> None:
    lines = _metrics(told["sink"])
    logged = list(_predictions(told["sink"]))
    by_status = _by(lines, "StatusClass", "RequestsByStatus")
    by_label = _by(lines, "Label", "Predictions")
    answered = by_status["2xx"]
    assert sum(_values(lines, "Requests")) == by_status.total()
    assert by_status["4xx"] == 1
    assert by_status["4xx"] + by_status["5xx"] == sum(_values(lines, "Errors"))  # 503 at first
    assert _by(lines, "ErrorKind", "Errors")["UndecodableImage"] == 1
    assert sum(_values(lines, "Images")) == by_label.total() == answered - 1  # one unrecorded
    assert set(by_label) <= set(NAMES)
    assert _by(lines, "ImageFormat", "ImagesByFormat") == {"PNG": answered - 1}
    dropped = _values(lines, "TelemetryDropped")  # only while the collector was starting
    assert sum(dropped[1:]) == 0
    assert 0 < len(logged) < answered


def _by(lines: list[dict[str, Any]], dimension: str, metric: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in lines:
        if dimension in line:
            counts[line[dimension]] += round(sum(np.atleast_1d(line[metric])))
    return counts


@pytest.mark.parametrize(
    "name", ["QueueLatency", "DecodeLatency", "ForwardLatency", "EncodeLatency", "TotalLatency"]
)
def test_every_phase_has_a_latency(told: dict[str, Any], name: str) -> None:
    values = _values(_metrics(told["sink"]), name)
    assert values
    assert all(0 <= value < 30_000 for value in values)


def _predictions(sink: Path) -> Iterator[dict[str, Any]]:
    for part in sorted((sink / "predictions").rglob("*.jsonl.gz")):
        for line in gzip.decompress(part.read_bytes()).decode().splitlines():
            yield json.loads(line)


def test_the_prediction_log_holds_what_was_answered(told: dict[str, Any]) -> None:
    logged = list(_predictions(told["sink"]))
    counts = Counter(line["label"] for line in logged)
    assert set(counts) <= set(NAMES)
    for line in logged:
        assert sum(line["probabilities"]) == pytest.approx(1, abs=1e-3)
        assert line["request_id"]
        assert line["model_version"]
    with_embedding = [line for line in logged if line.get("embedding")]
    assert 0 < len(with_embedding) < len(logged)


def test_images_the_model_is_unsure_of_are_kept_for_people(told: dict[str, Any]) -> None:
    review = told["sink"] / "review"
    tasks = [json.loads(path.read_text()) for path in (review / "tasks").glob("*.json")]
    assert tasks
    for task in tasks:
        assert task["confidence"] < 0.9 or task["reasons"] == ["sampled"]
        with Image.open(told["sink"] / task["image"]) as image:
            assert image.size == (40, 40)  # the unrecorded one is smaller
