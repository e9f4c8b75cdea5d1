"""What users say becomes a task, once, and never a label."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.component import review_queue
from shared.component.errors import InputError, StorageError
from shared.component.feedback import FeedbackBox, FeedbackLimitError, Prediction
from shared.component.object_store import FolderStore
from shared.component.review_queue import ReviewTask, read_task

NOW_S = 1_700_000_000.0  # 2023-11-14
SHOWN = Prediction("3", {"sea": 0.7, "street": 0.2, "forest": 0.1}, "r1")
SHA256 = hashlib.sha256(b"pixels").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def keys(store: FolderStore) -> list[str]:
    return [entry.key for entry in store.list()]


def test_feedback_is_an_image_a_task_and_a_line_of_the_day(store: FolderStore) -> None:
    FeedbackBox(store).add(b"pixels", "jpg", SHOWN, "street", NOW_S)
    assert keys(store) == [
        f"review/feedback/2023-11-14/{SHA256}.json",
        f"review/images/{SHA256}.jpg",
        f"review/tasks/{SHA256}.json",
    ]
    data = store.get(review_queue.task_key(SHA256))
    assert data is not None
    task = read_task(data, SHA256)
    assert (task.label, task.said, task.reasons) == ("sea", "street", ("feedback",))
    assert (task.confidence, task.model_version, task.labels) == (
        0.7,
        "3",
        ("sea", "street", "forest"),
    )
    assert not task.is_audit


def test_the_same_image_is_one_task_and_the_last_word_of_a_day_stands(store: FolderStore) -> None:
    box = FeedbackBox(store)
    for said in ("street", "forest"):
        box.add(b"pixels", "jpg", SHOWN, said, NOW_S)
    assert len(keys(store)) == 3
    data = store.get(f"review/feedback/2023-11-14/{SHA256}.json")
    assert data is not None
    assert read_task(data, "today").said == "forest"


def test_a_task_that_the_endpoint_made_stays_as_it_is(store: FolderStore) -> None:
    """Its image may have come under another extension; a second object would be a second task."""
    task = ReviewTask(
        image=f"review/images/{SHA256}.jpeg",
        model_version="2",
        label="sea",
        confidence=0.5,
        labels=("sea", "street"),
        probabilities=(0.5, 0.5),
        reasons=("sampled",),
        request_id="r",
        time=1.0,
    )
    store.put(review_queue.task_key(SHA256), task.encode())
    store.put(task.image, b"pixels")
    FeedbackBox(store).add(b"pixels", "jpg", SHOWN, "street", NOW_S)
    assert store.get(review_queue.task_key(SHA256)) == task.encode()
    assert [key for key in keys(store) if key.startswith(review_queue.IMAGES)] == [task.image]


def test_a_day_has_a_limit_and_the_next_begins_anew(store: FolderStore) -> None:
    box = FeedbackBox(store, daily_limit=2)
    for image in (b"a", b"b", b"b"):
        box.add(image, "png", SHOWN, "sea", NOW_S)
    with pytest.raises(FeedbackLimitError, match="2 images were reported today"):
        box.add(b"c", "png", SHOWN, "sea", NOW_S)
    assert len(keys(store)) == 6
    box.add(b"c", "png", SHOWN, "sea", NOW_S + 86400)


@pytest.mark.parametrize(
    ("extension", "said", "message"),
    [
        ("jpg", "moon", "'moon' is no label of the model; use one of sea, street, forest"),
        ("../x", "sea", "names no image format"),
        ("", "sea", "names no image format"),
    ],
)
def test_what_is_impossible_is_refused_and_nothing_written(
    store: FolderStore, extension: str, said: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        FeedbackBox(store).add(b"pixels", extension, SHOWN, said, NOW_S)
    assert keys(store) == []


def test_an_interruption_is_healed_by_saying_it_again(tmp_path: Path) -> None:
    class Broken(FolderStore):
        def put(self, key: str, data: bytes) -> None:
            if key.startswith(review_queue.FEEDBACK):
                raise StorageError("no room")
            super().put(key, data)

    with pytest.raises(StorageError):
        FeedbackBox(Broken(tmp_path)).add(b"pixels", "jpg", SHOWN, "sea", NOW_S)
    FeedbackBox(FolderStore(tmp_path)).add(b"pixels", "jpg", SHOWN, "sea", NOW_S)
    assert len(keys(FolderStore(tmp_path))) == 3
