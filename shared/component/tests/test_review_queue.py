"""A task travels whole; what is none is refused by name."""

from __future__ import annotations

import json

import pytest

from shared.component import review_queue
from shared.component.errors import InputError
from shared.component.review_queue import ReviewTask, read_gold, read_task, sha256_of_key

SHA256 = "a" * 64
TASK = ReviewTask(
    image=f"review/images/{SHA256}.jpg",
    model_version="3",
    label="sea",
    confidence=0.5,
    labels=("sea", "street"),
    probabilities=(0.5, 0.5),
    reasons=("low_confidence", "sampled"),
    request_id="r",
    time=1.5,
)


def test_a_task_is_read_as_it_was_written() -> None:
    assert read_task(TASK.encode(), "here") == TASK
    assert (TASK.sha256, TASK.is_audit) == (SHA256, True)


def test_fields_of_others_are_left_alone() -> None:
    body = json.loads(TASK.encode()) | {"more": 1}
    assert read_task(json.dumps(body).encode(), "here") == TASK


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps(json.loads(TASK.encode()) | {"labels": ["sea"]}).encode(),
        json.dumps(json.loads(TASK.encode()) | {"image": "elsewhere/x.jpg"}).encode(),
    ],
)
def test_what_is_no_task_is_refused_and_named(body: bytes) -> None:
    with pytest.raises(InputError, match=r"tasks/1\.json is no task"):
        read_task(body, "tasks/1.json")


@pytest.mark.parametrize(
    ("key", "sha256"),
    [
        (f"review/images/{SHA256}.jpg", SHA256),
        (f"s3://bucket/endpoint/review/images/{SHA256}.png", SHA256),
        (f"s3://bucket/review/images/{'g' * 64}.png", ""),
        (f"s3://bucket/review/images/more/{SHA256}.png", ""),
        (f"s3://bucket/others/{SHA256}.png", ""),
        (f"review/images/{SHA256}", ""),
    ],
)
def test_an_image_of_the_queue_is_known_by_its_key(key: str, sha256: str) -> None:
    assert sha256_of_key(key) == sha256


def test_keys_lie_in_the_review_folder() -> None:
    keys = [
        review_queue.image_key(f"{SHA256}.jpg"),
        review_queue.task_key(SHA256),
        review_queue.audit_key(SHA256),
    ]
    assert all(key.startswith(review_queue.FOLDER) for key in keys)
    assert len(set(keys)) == 3


def test_gold_answers_are_read_by_hash() -> None:
    assert read_gold({"schema": 1, "gold": {SHA256: "sea"}}) == {SHA256: "sea"}
    for document in ([], "gold", {}, {"schema": 2, "gold": {}}, {"schema": 1, "gold": []}):
        with pytest.raises(InputError, match=r"gold\.json is no list"):
            read_gold(document)
