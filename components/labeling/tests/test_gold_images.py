"""Gold images: into the queue like all others, their answers elsewhere and first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from components.labeling.gold_images import put_gold
from shared.component.errors import InputError, StorageError
from shared.component.object_store import FolderStore

LABELS = ("cat", "dog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in LABELS:
        (tmp_path / "gold" / label).mkdir(parents=True)
        (tmp_path / "gold" / label / "1.PNG").write_bytes(f"picture of a {label}".encode())
    return tmp_path / "gold"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "queue")


def _gold(store: FolderStore) -> dict[str, str]:
    document = json.loads(store.get("review/gold.json") or b"")
    assert document["schema"] == 1
    answers: dict[str, str] = document["gold"]
    return answers


def test_images_lie_by_their_hash_and_a_second_time_changes_nothing(
    folder: Path, store: FolderStore
) -> None:
    assert put_gold(store, folder, LABELS, 1000) == 2
    sha256 = hashlib.sha256(b"picture of a dog").hexdigest()
    assert store.get(f"review/images/{sha256}.png") == b"picture of a dog"
    assert _gold(store)[sha256] == "dog"
    before = [(e.key, e.etag) for e in store.list("")]
    assert put_gold(store, folder, LABELS, 1000) == 0
    assert [(e.key, e.etag) for e in store.list("")] == before


def test_what_others_put_stays(folder: Path, store: FolderStore) -> None:
    others = {"schema": 1, "gold": {"f" * 64: "cat"}}
    store.put("review/gold.json", json.dumps(others).encode())
    put_gold(store, folder, LABELS, 1000)
    assert _gold(store)["f" * 64] == "cat"
    assert len(_gold(store)) == 3


def test_two_writers_at_once_lose_nothing(folder: Path, tmp_path: Path) -> None:
    class Contested(FolderStore):
        """Another writer comes between reading and writing, once."""

        is_quiet = False

        def put_new(self, key: str, data: bytes) -> bool:
            if key == "review/gold.json" and not self.is_quiet:
                self.is_quiet = True
                other = {"schema": 1, "gold": {"e" * 64: "dog"}}
                self.put(key, json.dumps(other).encode())
            return super().put_new(key, data)

    store = Contested(tmp_path / "queue")
    put_gold(store, folder, LABELS, 1000)
    assert len(_gold(store)) == 3


def test_the_answers_are_there_before_the_images(folder: Path, tmp_path: Path) -> None:
    class Breaking(FolderStore):
        def put_new(self, key: str, data: bytes) -> bool:
            if key.startswith("review/images/"):
                raise StorageError("gone")
            return super().put_new(key, data)

    store = Breaking(tmp_path / "queue")
    with pytest.raises(StorageError):
        put_gold(store, folder, LABELS, 1000)
    assert len(_gold(store)) == 2  # an image without its answer would be trained on


def test_an_answer_that_contradicts_a_known_one_is_refused(
    folder: Path, store: FolderStore
) -> None:
    put_gold(store, folder, LABELS, 1000)
    (folder / "cat" / "1.PNG").rename(folder / "dog" / "2.png")
    with pytest.raises(InputError, match="is known as cat, not dog"):
        put_gold(store, folder, LABELS, 1000)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bird/1.png", "the model's are cat, dog"),
        ("1.png", "in no folder of a class"),
        ("cat/deep/1.png", "in no folder of a class"),
        ("cat/notes.txt", "is no JPEG, PNG or WebP"),
        ("cat/large.png", "of at most 100 bytes"),
    ],
)
def test_what_is_no_gold_image_is_refused_before_anything_is_written(
    folder: Path, store: FolderStore, name: str, said: str
) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x" * 101)
    with pytest.raises(InputError, match=said):
        put_gold(store, folder, LABELS, 100)
    assert list(store.list("")) == []


def test_an_image_in_two_classes_and_a_folder_of_nothing_are_refused(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    (folder / "dog" / "2.png").write_bytes(b"picture of a cat")
    with pytest.raises(InputError, match="is also among cat"):
        put_gold(store, folder, LABELS, 1000)
    with pytest.raises(InputError, match="no folder"):
        put_gold(store, tmp_path / "none", LABELS, 1000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images"):
        put_gold(store, tmp_path / "empty", LABELS, 1000)
