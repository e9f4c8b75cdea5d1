"""Two merges at once, and what makes another manifest."""

from __future__ import annotations

import pytest

from components.labeling.decide import Rules
from components.labeling.merge import MergeStores
from components.labeling.tests.merge_world import World
from shared.component.annotation_manifest import CURRENT, Current
from shared.component.errors import StorageError
from shared.component.object_store import FolderStore


class _Racing(FolderStore):
    """Another merge changes current.json just before this one does, so many times."""

    def __init__(self, store: FolderStore, times: int) -> None:
        super().__init__(store.folder)
        self.times = times

    def put_match(self, key: str, data: bytes, etag: str) -> bool:
        if self.times:
            self.times -= 1
            self.put(CURRENT, Current(f"{self.times:064x}", 0).encode())
        return super().put_match(key, data, etag)


def test_two_merges_at_once_do_no_harm(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road", number=1)
    world.merge()
    world.annotate(image, "snow", number=1, updated_at="2026-02-01T00:00:00Z")
    whole = world.stores
    racing = MergeStores(whole.queue, whole.annotations, _Racing(whole.labels, times=2))
    assert world.merge(racing).is_changed
    assert world.labels()[image].label == "snow"


def test_a_merge_that_never_gets_its_turn_says_so(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road", number=1)
    world.merge()
    world.annotate(image, "snow", number=1, updated_at="2026-02-01T00:00:00Z")
    whole = world.stores
    racing = MergeStores(whole.queue, whole.annotations, _Racing(whole.labels, times=9))
    with pytest.raises(StorageError, match="one merge run at a time"):
        world.merge(racing)


class _First(FolderStore):
    """Another first merge puts current.json just before this one does."""

    has_raced = False

    def put_new(self, key: str, data: bytes) -> bool:
        if key == CURRENT:
            self.has_raced = True
            FolderStore(self.folder).put_new(key, Current("0" * 64, 0).encode())
        return super().put_new(key, data)


def test_two_first_merges_at_once_do_no_harm(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road")
    whole, labels = world.stores, _First(world.folder / "labels")
    first = MergeStores(whole.queue, whole.annotations, labels)
    assert world.merge(first).is_changed  # of the second attempt, which saw the other's
    assert set(world.labels()) == {image}
    assert labels.has_raced, "current.json was put whatever was there"


def test_a_blind_share_makes_no_other_manifest(world: World) -> None:
    """It changes what people see from now on, and no label; each manifest may ask for a run."""
    world.annotate(world.queue("a"), "road")
    before = world.merge().fingerprint
    world.rules = Rules(blind_share=0.5)
    assert world.merge().fingerprint == before
    world.rules = Rules(blind_share=0.5, min_gold=0.5)
    assert world.merge().fingerprint != before
