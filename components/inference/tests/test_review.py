"""Kept images leave the spool for the review queue, once each and within limits."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from components.inference.outbox import Outbox
from components.inference.records import AnswerRecord
from components.inference.review import Review
from components.inference.sinks import FolderSink
from components.inference.tests.telemetry_factories import CLASSES, an_answer, an_image
from shared.component import review_queue
from shared.component.errors import StorageError

NOW_S = 1_700_000_000.0


@pytest.fixture
def sink(tmp_path):
    return FolderSink(tmp_path / "sink")


@pytest.fixture
def outbox(sink):
    box = Outbox(sink)
    yield box
    box.close(5)


@pytest.fixture
def spool(tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def kept(spool: Path, data: bytes, reason: str = "low_confidence") -> AnswerRecord:
    sha256 = hashlib.sha256(data).hexdigest()
    (spool / f"{sha256}.jpg").write_bytes(data)
    return an_answer(an_image(sha256=sha256, kept=f"{sha256}.jpg", reasons=(reason,)))


def names(sink: FolderSink, kind: str) -> list[str]:
    return sorted(path.name for path in (sink.folder / "review" / kind).glob("*"))


def test_an_image_and_its_task_arrive_and_the_spool_is_empty(outbox, sink, spool):
    answer = kept(spool, b"pixels")
    Review(outbox, spool, daily_limit=10, labels=CLASSES).add(answer, NOW_S)
    outbox.close(5)
    sha256 = answer.images[0].sha256
    assert (sink.folder / f"review/images/{sha256}.jpg").read_bytes() == b"pixels"
    assert json.loads((sink.folder / f"review/tasks/{sha256}.json").read_text()) == {
        "image": f"review/images/{sha256}.jpg",
        "model_version": "7",
        "label": "cat",
        "confidence": 0.9,
        "labels": ["cat", "dog", "owl"],
        "probabilities": [0.9, 0.06, 0.04],
        "reasons": ["low_confidence"],
        "request_id": "r1",
        "time": 1000.5,
        "said": "",
    }
    assert list(spool.iterdir()) == []


class _Noting(FolderSink):
    """Tells in which order objects come."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.order: list[str] = []

    def put(self, key: str, data: bytes) -> None:
        self.order.append(key.split("/")[1])
        super().put(key, data)


def test_an_image_comes_before_the_task_that_names_it(tmp_path, spool):
    sink = _Noting(tmp_path / "noting")
    box = Outbox(sink)
    Review(box, spool, 10, CLASSES).add(kept(spool, b"pixels", "sampled"), NOW_S)
    box.close(5)
    assert sink.order == ["images", "tasks", "audit"]


class _Away(FolderSink):
    """A sink that takes nothing for a while."""

    is_away = True

    def put(self, key: str, data: bytes) -> None:
        if self.is_away:
            raise StorageError("away")
        super().put(key, data)


def test_an_image_that_comes_again_while_it_is_on_its_way_arrives(tmp_path, spool):
    sink = _Away(tmp_path / "away")
    box = Outbox(sink, first_wait_s=0.01)
    review = Review(box, spool, 10, CLASSES)
    for _ in range(2):
        review.add(kept(spool, b"pixels"), NOW_S)
    sink.is_away = False
    box.close(5)
    assert len(names(sink, "images")) == len(names(sink, "tasks")) == 1


def test_the_same_image_makes_one_task(outbox, sink, spool):
    review = Review(outbox, spool, daily_limit=10, labels=CLASSES)
    for _ in range(3):
        review.add(kept(spool, b"pixels"), NOW_S)
    outbox.close(5)
    review.add(kept(spool, b"pixels"), NOW_S)
    assert review.queued == 1
    assert len(names(sink, "tasks")) == 1
    assert list(spool.iterdir()) == []


def test_a_task_that_is_there_stays_as_it_is(outbox, sink, spool):
    answer = kept(spool, b"pixels")
    sink.put(f"review/tasks/{answer.images[0].sha256}.json", b"answered by a person")
    Review(outbox, spool, daily_limit=10, labels=CLASSES).add(answer, NOW_S)
    outbox.close(5)
    (task,) = (sink.folder / "review/tasks").iterdir()
    assert task.read_bytes() == b"answered by a person"


def test_a_day_has_a_limit_and_the_next_begins_anew(outbox, sink, spool):
    review = Review(outbox, spool, daily_limit=2, labels=CLASSES)
    for number in range(4):
        review.add(kept(spool, bytes([number])), NOW_S)
    review.add(kept(spool, b"next day"), NOW_S + 86400)
    outbox.close(5)
    assert (review.queued, review.refused) == (3, 2)
    assert len(names(sink, "images")) == 3
    assert list(spool.iterdir()) == []


def test_an_audit_sample_is_written_down_though_the_image_has_its_task(outbox, sink, spool):
    review = Review(outbox, spool, daily_limit=10, labels=CLASSES)
    for reason in ("low_confidence", "sampled", "sampled"):
        review.add(kept(spool, b"pixels", reason), NOW_S)
    outbox.close(5)
    (task,), (audit,) = names(sink, "tasks"), names(sink, "audit")
    assert task == audit
    body = (sink.folder / "review/audit" / audit).read_bytes()
    assert review_queue.read_task(body, audit).is_audit
    assert (review.queued, list(spool.iterdir())) == (2, [])


def test_a_day_full_of_unsure_images_has_room_for_the_audit(outbox, sink, spool):
    review = Review(outbox, spool, daily_limit=2, labels=CLASSES)
    for number in range(4):
        review.add(kept(spool, bytes([number])), NOW_S)
        review.add(kept(spool, bytes([number, 1]), "sampled"), NOW_S)
    outbox.close(5)
    assert (len(names(sink, "audit")), len(names(sink, "images"))) == (2, 4)


def test_a_record_that_names_another_file_moves_nothing(outbox, sink, spool, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"not an image of ours")
    Review(outbox, spool, daily_limit=10, labels=CLASSES).add(
        an_answer(an_image(kept="../secret.jpg")), NOW_S
    )
    outbox.close(5)
    assert names(sink, "images") == []
    assert (tmp_path / "secret.jpg").exists()


def test_a_record_without_its_image_is_counted(outbox, spool):
    answer = kept(spool, b"pixels")
    (spool / answer.images[0].kept).unlink()
    review = Review(outbox, spool, daily_limit=10, labels=CLASSES)
    review.add(answer, NOW_S)
    assert (review.queued, review.orphans) == (0, 1)


def test_files_whose_record_never_came_are_removed_in_time(outbox, spool):
    old, fresh = spool / "old.jpg", spool / ".half-written"
    for path, age_s in ((old, 700), (fresh, 10)):
        path.write_bytes(b"x")
        os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    review = Review(outbox, spool, daily_limit=10, labels=CLASSES)
    review.tick(NOW_S)
    assert [p.name for p in spool.iterdir()] == [".half-written"]
    assert review.orphans == 1


def test_a_spool_that_is_not_there_harms_nobody(outbox, tmp_path):
    review = Review(outbox, tmp_path / "absent", daily_limit=10, labels=CLASSES)
    review.tick(NOW_S)
    assert (review.queued, review.refused, review.orphans) == (0, 0, 0)
    assert not (tmp_path / "absent").exists()
