"""A request is reported whole, or counted, and images for people are told in any case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from components.inference.keeper import Keeper
from components.inference.records import AnswerRecord, Counts, Record, unpack
from components.inference.reporter import Reporter
from components.inference.review_rules import ReviewRules
from shared.vision.images import decode_with_facts
from shared.vision.payload import Options
from shared.vision.predictor import Predictions
from shared.vision.service import Request, Work
from shared.vision.tests.factories import colour_image

CLASSES = ("red", "green")


def _work(*confidences: float) -> Work:
    """Return a request of images, answered red with these confidences."""
    rows = np.array([[c, 1 - c] for c in confidences], np.float32)
    data = [colour_image("red", number) for number in range(len(confidences))]
    return Work(
        Request(b"", "image/png", "id"),
        data=data,
        facts=[decode_with_facts(image, 1)[1] for image in data],
        labels=rows.argmax(axis=1).tolist(),
        confidences=rows.max(axis=1).tolist(),
        predictions=Predictions(np.log(rows), rows, np.ones((len(rows), 3), np.float32)),
        phases_ms={"decode": 1.0},
    )


class Sender(list[Record]):
    def send(self, record: Record) -> None:
        self.append(record)


def _report(
    works: Sequence[Work], *, is_chosen: bool, spool: Path | None = None
) -> tuple[Sender, Counts]:
    sender = Sender()
    keeper = Keeper(spool, lambda: ReviewRules(sampling_interval=0)) if spool else None
    reporter = Reporter(CLASSES, "v", None, 1.0, sender, lambda: is_chosen, keeper)
    return sender, reporter.report(works)


def test_what_is_chosen_is_sent_whole() -> None:
    work = _work(0.9, 0.6)
    (record,), uncounted = _report([work], is_chosen=True)
    assert uncounted == {}
    assert isinstance(record, AnswerRecord)
    assert (record.request_id, record.model_version, record.is_sample) == ("id", "v", True)
    assert record.phases_ms == {"decode": 1.0}
    assert [image.label for image in record.images] == ["red", "red"]
    assert [image.confidence for image in record.images] == pytest.approx([0.9, 0.6])
    assert [image.bytes for image in record.images] == [len(data) for data in work.data]
    assert [image.format for image in record.images] == ["PNG", "PNG"]
    assert unpack(record.images[1].probabilities, np.float32) == pytest.approx([0.6, 0.4])
    assert unpack(record.images[0].embedding, np.float16).tolist() == [1, 1, 1]


def test_of_what_is_not_chosen_labels_and_formats_are_counted() -> None:
    sent, uncounted = _report([_work(0.9, 0.2), _work(0.8)], is_chosen=False)
    assert sent == []
    assert uncounted == {"Label": {"red": 2, "green": 1}, "ImageFormat": {"PNG": 3}}


def test_an_image_for_people_is_told_though_not_chosen(tmp_path: Path) -> None:
    sent, uncounted = _report([_work(0.99), _work(0.6)], is_chosen=False, spool=tmp_path)
    assert uncounted == {"Label": {"red": 1}, "ImageFormat": {"PNG": 1}}
    (record,) = sent
    assert isinstance(record, AnswerRecord)
    assert not record.is_sample
    assert [(image.reasons, image.kept) for image in record.images] == [
        (("low_confidence",), f"{record.images[0].sha256}.png")
    ]
    assert [path.name for path in tmp_path.iterdir()] == [record.images[0].kept]


def test_what_was_not_answered_is_not_reported() -> None:
    work = _work(0.9)
    work.predictions = None
    assert _report([work], is_chosen=True) == ([], {})


def test_what_asks_not_to_be_reported_counts_for_how_busy_the_worker_is_alone(
    tmp_path: Path,
) -> None:
    quiet = _work(0.6)
    quiet.options = Options(record=False)
    asked: list[int] = []

    def is_chosen() -> bool:
        asked.append(1)
        return True

    sender = Sender()
    reporter = Reporter(CLASSES, "v", None, 1.0, sender, is_chosen, Keeper(tmp_path))
    assert reporter.report([quiet, quiet]) == {}
    assert (sender, len(asked)) == ([], 2)
    assert list(tmp_path.iterdir()) == []
