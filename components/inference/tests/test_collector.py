"""A real collector process, fed as the workers feed it, through every kind of trouble."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.inference.telemetry import Telemetry
from components.inference.tests.telemetry_factories import (
    WINDOW,
    a_bundle,
    a_request,
    an_answer,
    an_image,
    packed,
    rows_of,
    wait_for,
)
from components.inference.tests.test_metrics import read_emf
from shared.vision.drift import DriftDetector

FAST = ["--metrics-interval-s=0.2", "--drift-interval-s=0.1", "--log-part-s=0.3", "--batch-s=0.01"]


@dataclass
class Stage:
    """Folders, the processes started in them, and one sender."""

    folder: Path
    bundle: Path
    detector: DriftDetector
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(self.folder / "c.sock")
        self.spool.mkdir()

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def sink(self) -> Path:
        return self.folder / "sink"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self, *options: str, **popen: Any) -> subprocess.Popen[bytes]:
        names = ["--endpoint-name=e", "--variant-name=v", "--model-version=7"]
        places = [f"--socket={self.folder / 'c.sock'}", f"--state={self.state}"]
        places += [f"--spool={self.spool}", f"--bundle={self.bundle}", f"--sink={self.sink}"]
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "components.inference.collector",
                    *places,
                    *names,
                    *FAST,
                    *options,
                ],
                **({"stdout": out, "stderr": err} | popen),
            )
        self.processes.append(process)
        wait_for(lambda: (self.folder / "c.sock").exists() or process.poll() is not None)
        return process

    def feed(self, rows: list[list[float]]) -> None:
        for row in rows:
            self.telemetry.send(a_request())
            self.telemetry.send(an_answer(an_image(features=packed(*row))))

    def result(self) -> Any:
        path = self.state / "drift.json"
        return json.loads(path.read_text()) if path.exists() else None

    def lines(self) -> list[dict[str, Any]]:
        """Return what stands in the sink's metric files."""
        texts = [p.read_text() for p in sorted((self.sink / "metrics").glob("*.jsonl"))]
        return [read_emf(line) for line in "".join(texts).splitlines()]

    def total(self, name: str) -> float:
        return sum(sum(line[name]) for line in self.lines() if name in line)

    def end(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(30)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return folder, a_bundle(folder)


@pytest.fixture
def stage(tmp_path, bundle) -> Iterator[Stage]:
    made = Stage(tmp_path, *bundle)
    yield made
    made.telemetry.close()
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def test_a_clean_world_is_no_drift_and_a_shifted_one_is_and_is_named(stage):
    process = stage.start()
    stage.feed(rows_of(stage.detector, WINDOW, 2))
    assert wait_for(stage.result)["is_drift"] is False
    shifted = rows_of(stage.detector, WINDOW, 3)
    for row in shifted:
        row[1] += 3
    stage.feed(shifted)
    result = wait_for(lambda: (found := stage.result())["tests"] == 2 and found)
    assert result["is_drift"] is True
    assert result["features"][0]["name"] == "component 1"
    assert stage.end(process) == 0
    drift = [line for line in stage.lines() if "IsDrift" in line]
    assert [line["IsDrift"] for line in drift] == [[0.0], [1.0]]
    assert drift[1]["DriftPValue"][0] < 1e-6
    assert 0.3 < drift[1]["DriftDistance"][0] <= 1
    assert drift[1]["DriftWindow"] == [WINDOW]
    assert drift[1]["DriftFeature"] == "component 1"
    assert drift[1]["DriftTest"] == "Kolmogorov-Smirnov"
    assert (drift[1]["EndpointName"], drift[1]["VariantName"], drift[1]["ModelVersion"]) == (
        "e",
        "v",
        "7",
    )
    assert (stage.total("Requests"), stage.total("Images")) == (2 * WINDOW, 2 * WINDOW)
    assert stage.total("TelemetryDropped") == 0
    log = (stage.folder / "err").read_text()
    assert "is_drift=True" in log
    assert "strongest=component 1" in log
    printed = [read_emf(line) for line in (stage.folder / "out").read_text().splitlines()]
    assert printed == stage.lines()


def test_predictions_and_review_images_reach_the_sink(stage):
    process = stage.start()
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    (stage.spool / f"{sha256}.jpg").write_bytes(b"pixels")
    image = an_image(sha256=sha256, kept=f"{sha256}.jpg", reasons=("low_confidence",))
    stage.telemetry.send(an_answer(image, request_id="r9"))
    (part,) = wait_for(lambda: list(stage.sink.glob("predictions/*/*/*/*/*.jsonl.gz")))
    assert json.loads(gzip.decompress(part.read_bytes()))["request_id"] == "r9"
    task = stage.sink / f"review/tasks/{sha256}.json"
    wait_for(task.exists)
    assert (stage.sink / json.loads(task.read_text())["image"]).read_bytes() == b"pixels"
    assert list(stage.spool.iterdir()) == []
    assert stage.end(process) == 0
    assert stage.total("ReviewImagesKept") == 1
    assert stage.total("SinkObjectsPut") == 3
    assert stage.total("SinkObjectsLost") == 0


def test_the_end_brings_everything_away(stage):
    process = stage.start("--metrics-interval-s=999", "--log-part-s=999")
    stage.feed(rows_of(stage.detector, 20, 4))
    assert stage.end(process) == 0
    assert stage.total("Requests") == 20
    assert len(list(stage.sink.rglob("*.jsonl.gz"))) == 1
    assert not (stage.folder / "c.sock").exists()
    assert [p.name for p in stage.state.iterdir()] == ["drift-rows.npz"]


def test_killed_in_the_middle_of_a_window_it_goes_on_with_it(stage):
    first = stage.start()
    stage.feed(rows_of(stage.detector, WINDOW - 10, 5, shift=2.0))
    wait_for((stage.state / "drift-rows.npz").exists)
    first.kill()
    first.wait(10)
    stage.feed(rows_of(stage.detector, 10, 6))  # lost, and counted
    assert stage.telemetry.dropped == 20
    stage.start()
    wait_for(lambda: _reaches(stage))
    stage.feed(rows_of(stage.detector, 10, 7, shift=2.0))
    result = wait_for(stage.result)
    assert result["is_drift"] is True
    assert result["seen"] == WINDOW
    wait_for(lambda: stage.total("TelemetryDropped") >= 20)


def _reaches(stage: Stage) -> bool:
    stage.telemetry.send(a_request())
    return stage.telemetry.dropped == 0


@contextlib.contextmanager
def broken_pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_with_stdout_closed_everything_else_goes_on(stage):
    with broken_pipe() as closed:
        process = stage.start(stdout=closed)
    stage.feed(rows_of(stage.detector, WINDOW, 8))
    wait_for(stage.result)
    wait_for(lambda: stage.total("MetricLinesLost") > 0)
    assert stage.end(process) == 0
    assert stage.total("Requests") == WINDOW


def _file_in_the_way(stage: Stage) -> Callable[[], None] | None:
    stage.sink.write_text("a file where the folder should be")
    return None


def _no_file_may_have_a_byte(stage: Stage) -> Callable[[], None] | None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error, no signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    return limit


@pytest.mark.parametrize("trouble", [_file_in_the_way, _no_file_may_have_a_byte])
def test_a_sink_that_takes_nothing_is_a_metric_and_nothing_more(stage, trouble):
    limit = trouble(stage)
    reader, writer = os.pipe()
    process = stage.start(stdout=writer, stderr=subprocess.DEVNULL, preexec_fn=limit)
    os.close(writer)
    (stage.spool / ("ab" * 32 + ".jpg")).write_bytes(b"pixels")
    stage.telemetry.send(an_answer(an_image(kept="ab" * 32 + ".jpg", reasons=("sampled",))))
    stage.feed(rows_of(stage.detector, WINDOW, 9))
    assert _reaches(stage)
    assert stage.end(process) == 0
    with os.fdopen(reader) as stream:
        lines = [read_emf(line) for line in stream.read().splitlines()]
    assert sum(sum(line.get("SinkObjectsLost", [])) for line in lines) == 4
    assert sum(sum(line.get("Images", [])) for line in lines) == WINDOW + 1
    assert (stage.spool / ("ab" * 32 + ".jpg")).exists()


def test_a_detector_slower_than_the_traffic_tests_less_often_and_loses_nothing(stage, tmp_path):
    package = tmp_path / "slow/alibi_detect/cd"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "tabular.py").write_text(
        "import numpy as np, time\n"
        "time.sleep(2)\n"
        "class TabularDrift:\n"
        "    def __init__(self, reference, **_): self.width = reference.shape[1]\n"
        "    def predict(self, window, drift_type):\n"
        "        ones = np.ones(self.width)\n"
        "        return {'data': {'p_val': ones, 'distance': 0 * ones}}\n"
    )
    paths = os.pathsep.join([str(tmp_path / "slow"), str(Path.cwd())])
    process = stage.start(env=os.environ | {"PYTHONPATH": paths})
    stage.feed(rows_of(stage.detector, WINDOW, 10))
    wait_for((stage.state / "drift-window.npz").exists)
    stage.feed(rows_of(stage.detector, 20 * WINDOW, 11))
    result = wait_for(lambda: (found := stage.result()) and found["tests"] == 2 and found)
    assert (result["window"], result["seen"]) == (WINDOW, 20 * WINDOW)
    assert result["p_value"] == 1, "the slow detector has answered"
    assert result["features"][0]["distance"] == 0
    assert stage.end(process) == 0
    assert stage.total("Images") == 21 * WINDOW
    assert stage.total("TelemetryDropped") == 0
    assert stage.total("DriftTestsFailed") == 0


def test_what_is_no_record_is_counted(stage):
    process = stage.start()
    stage.telemetry.send(a_request())
    assert stage.telemetry._socket is not None
    for junk in (b"\xff", b"{}", b"x" * 100_000):
        stage.telemetry._socket.send(junk)
    stage.telemetry.send(an_answer(an_image(features=packed(1.0))))
    assert stage.end(process) == 0
    assert stage.total("TelemetryMalformed") == 4
    assert (stage.total("Requests"), stage.total("Images")) == (1, 1)


def test_a_stopped_collector_loses_records_and_says_how_many(stage):
    process = stage.start()
    wait_for(lambda: _reaches(stage))
    process.send_signal(signal.SIGSTOP)
    sent = 1
    while stage.telemetry.dropped < 500:
        stage.telemetry.send(an_answer(an_image(label="dog" * 1000)))
        sent += 1
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: _reaches(stage))
    assert stage.end(process) == 0
    assert stage.total("TelemetryDropped") >= 500
    assert stage.total("Images") + stage.total("TelemetryDropped") >= sent - 1


def test_without_a_detector_the_rest_works(stage, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "bundle.json").write_text('{"classes": ["cat"]}')
    stage.bundle = plain
    process = stage.start("--sink=")
    stage.feed([[1.0, 2.0]])
    assert stage.end(process) == 0
    assert "holds no detector" in (stage.folder / "err").read_text()
    assert not stage.sink.exists()
    (metrics,) = (stage.state / "metrics").iterdir()
    assert metrics.read_text().count("\n") > 5


@pytest.mark.parametrize("trouble", ["no bundle", "no socket folder"])
def test_what_it_cannot_start_without_is_named(stage, tmp_path, trouble):
    if trouble == "no bundle":
        stage.bundle = tmp_path / "absent"
        process = stage.start()
    else:
        process = stage.start(f"--socket={tmp_path}/absent/c.sock")
    assert process.wait(30) == 1
    text = (stage.folder / "err").read_text()
    assert "Traceback" not in text
    assert "collector: " in text
