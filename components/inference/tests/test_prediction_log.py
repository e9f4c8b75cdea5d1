"""The prediction log: what was answered, in whole compressed parts."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.inference.outbox import Outbox
from components.inference.prediction_log import PredictionLog
from components.inference.sinks import FolderSink
from components.inference.tests.telemetry_factories import an_answer, an_image, embedding, wait_for

NOW_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(FolderSink(tmp_path))
    yield box
    box.close(5)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.gz"))


def read(part: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(part.read_bytes()).splitlines()]


def test_a_part_is_put_when_its_time_is_up(tmp_path, outbox):
    log = PredictionLog(outbox, part_s=300, share=1)
    log.add(an_answer(an_image(sha256="ab", embedding=embedding(4)), an_image()), NOW_S)
    log.tick(NOW_S + 299)
    log.tick(NOW_S + 300)
    (part,) = wait_for(lambda: parts(tmp_path))
    assert re.fullmatch(
        r"predictions/2023/11/14/22/20231114T221320Z-[0-9a-f]{8}\.jsonl\.gz",
        str(part.relative_to(tmp_path)),
    )
    first, second = read(part)
    assert first == {
        "request_id": "r1",
        "time": 1000.5,
        "model_version": "7",
        "label": "cat",
        "confidence": 0.9,
        "entropy": 0.3,
        "probabilities": [0.9, 0.06, 0.04],
        "format": "JPEG",
        "width": 150,
        "height": 100,
        "bytes": 5000,
        "sha256": "ab",
        "embedding": embedding(4),
    }
    assert "embedding" not in second


def test_a_part_is_not_put_before(tmp_path, outbox):
    log = PredictionLog(outbox, part_s=300, share=1)
    log.add(an_answer(), NOW_S)
    log.tick(NOW_S + 299)
    outbox.close(5)
    assert parts(tmp_path) == []


def test_a_part_is_put_when_it_is_large(tmp_path, outbox):
    log = PredictionLog(outbox, part_s=1e9, share=1)
    for _ in range(60):
        log.add(an_answer(an_image(embedding=embedding(40_000))), NOW_S)
    outbox.close(5)
    assert len(read(parts(tmp_path)[0])) < 60


def test_the_end_puts_the_rest_and_nothing_is_put_twice(tmp_path, outbox):
    log = PredictionLog(outbox, part_s=300, share=1)
    log.add(an_answer(), NOW_S)
    log.flush()
    log.flush()
    outbox.close(5)
    assert [len(read(p)) for p in parts(tmp_path)] == [1]


def test_a_share_of_the_requests_is_logged(tmp_path, outbox):
    log = PredictionLog(outbox, part_s=300, share=0.5)
    for number in range(1000):
        log.add(an_answer(request_id=f"request-{number}"), NOW_S)
    log.flush()
    outbox.close(5)
    assert 400 < len(read(parts(tmp_path)[0])) < 600
