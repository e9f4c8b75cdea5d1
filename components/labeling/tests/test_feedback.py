"""A user's word about an image goes to the people who label, with what the model said."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.labeling.errors import EndpointAwayError, NoSuggestionError
from components.labeling.feedback import take
from components.labeling.model import Model
from components.labeling.tests.backend import FakeRuntime, away, model_error
from shared.component.errors import InputError
from shared.component.feedback import FeedbackBox
from shared.component.object_store import FolderStore

NOW_S = 1_700_000_000.0


@pytest.fixture
def box(tmp_path: Path) -> FeedbackBox:
    return FeedbackBox(FolderStore(tmp_path / "queue"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.JPG"
    path.write_bytes(b"dog 0.8")
    return path


def test_the_models_answer_and_the_users_word_are_kept(box: FeedbackBox, photo: Path) -> None:
    runtime = FakeRuntime()
    task = take(box, Model(runtime, "local"), photo, "cat", 1000, NOW_S)
    assert (task.label, task.confidence, task.said, task.model_version) == ("dog", 0.8, "cat", "7")
    assert task.labels == ("cat", "dog")
    assert task.probabilities == pytest.approx((0.2, 0.8))
    assert task.image.endswith(".jpg")
    assert runtime.asked[0]["CustomAttributes"] == "record=false"
    assert len(list(box.store.list())) == 3


@pytest.mark.parametrize(
    ("before", "error"),
    [(away, EndpointAwayError), (model_error(422), NoSuggestionError)],
)
def test_without_a_prediction_nothing_is_queued(
    box: FeedbackBox, photo: Path, before: object, error: type[Exception]
) -> None:
    def fail(image: bytes) -> None:
        if isinstance(before, Exception):
            raise before
        away(image)

    with pytest.raises(error):
        take(box, Model(FakeRuntime(before=fail), "local"), photo, "cat", 1000, NOW_S)
    assert list(box.store.list()) == []


@pytest.mark.parametrize("name", ["missing.jpg", "photo.svg", "large.png"])
def test_what_is_no_image_file_is_refused(box: FeedbackBox, tmp_path: Path, name: str) -> None:
    (tmp_path / "photo.svg").write_text("<svg/>")
    (tmp_path / "large.png").write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match=rf"{name} is no JPEG, PNG or WebP file of at most 1000"):
        take(box, Model(FakeRuntime(), "local"), tmp_path / name, "cat", 1000, NOW_S)


def test_a_label_the_model_does_not_know_is_refused(box: FeedbackBox, photo: Path) -> None:
    with pytest.raises(InputError, match="'moon' is no label of the model; use one of cat, dog"):
        take(box, Model(FakeRuntime(), "local"), photo, "moon", 1000, NOW_S)
    assert list(box.store.list()) == []
