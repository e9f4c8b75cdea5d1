"""Hours of telemetry in half a minute: what a busy endpoint's collector keeps is bounded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.inference.records import Record
from components.inference.tests.telemetry_factories import (
    a_bundle,
    a_request,
    an_answer,
    an_image,
    packed,
    rows_of,
)
from components.inference.tests.test_collector import Stage

pytestmark = pytest.mark.faults

# A busy server of two workers reports five answers a second whole: a part is an hour and more.
_PARTS, _ANSWERS = 6, 20_000
_KEPT_EVERY = 100
_MOST_MB = 3.0  # over five parts; 30 bytes an answer would be as much


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = tmp_path / "bundle"
    folder.mkdir()
    made = Stage(tmp_path, folder, a_bundle(folder))
    yield made
    made.telemetry.close()
    for process in made.processes:
        process.kill()
        process.wait(10)


def is_sent(stage: Stage, record: Record) -> bool:
    """Send a record; False where it was dropped, which is as often counted."""
    before = stage.telemetry.dropped
    stage.telemetry.send(record)
    return stage.telemetry.dropped <= before


def feed(stage: Stage, features: list[str], first: int) -> None:
    """Send one part, as fast as the collector takes it; every so many-th image is kept."""
    for number in range(first, first + _ANSWERS):
        sha256 = name = ""
        if number % _KEPT_EVERY == 0:
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            name = f"{sha256}.jpg"
            (stage.spool / name).write_bytes(b"pixels")
        image = an_image(
            features=features[number % len(features)],
            sha256=sha256,
            kept=name,
            reasons=("low_confidence",) if name else (),
        )
        stage.telemetry.send(a_request())
        while not is_sent(stage, an_answer(image, request_id=f"request-{number}")):
            time.sleep(0.001)  # the buffer is full


def test_hours_of_records_leave_the_collector_as_small_as_it_was(stage: Stage) -> None:
    process = stage.start("--review-per-day=1000")
    features = [packed(*row) for row in rows_of(stage.detector, 500, 8)]
    megabytes = []
    for part in range(_PARTS):
        feed(stage, features, part * _ANSWERS)
        megabytes.append(psutil.Process(process.pid).memory_info().rss / 2**20)
    assert stage.end(process) == 0
    print(f"collector, hour by hour: {[round(mb, 1) for mb in megabytes]} MB")  # noqa: T201
    assert stage.total("Images") == _PARTS * _ANSWERS
    assert stage.total("ReviewImagesKept") > 0
    assert (stage.state / "drift.json").exists()
    assert megabytes[-1] - megabytes[0] < _MOST_MB, megabytes
