"""What was read before is not read again; the cache may be lost or wrong without harm."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from components.labeling.merge import MergeStores
from components.labeling.tests.merge_world import World
from shared.component.object_store import FolderStore


class _Counting(FolderStore):
    """A folder that remembers which objects were read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads: list[str] = []

    def get(self, key: str) -> bytes | None:
        self.reads.append(key)
        return super().get(key)


def _merge(world: World) -> list[str]:
    """Merge and return what was read of annotations and queue."""
    whole = world.stores
    queue, annotations = (_Counting(world.folder / name) for name in ("queue", "annotations"))
    world.merge(MergeStores(queue, annotations, whole.labels, whole.report))
    return sorted({*queue.reads, *annotations.reads} - {"review/gold.json"})


def _filled(world: World) -> World:
    for number in range(6):
        world.annotate(world.queue(number, is_audit=number == 5), "road")
    return world


def test_only_what_changed_is_read_again(world: World) -> None:
    assert len(_merge(_filled(world))) == 6 + 6 + 1
    assert _merge(world) == []
    world.annotate(world.queue(2), "snow", number=3, updated_at="2026-02-01T00:00:00Z")
    assert len(_merge(world)) == 2
    assert [label.label for label in world.labels().values()].count("snow") == 1


CACHES = ("annotations", "tasks", "audit")


@pytest.mark.parametrize("name", CACHES)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        gzip.compress(b""),
        gzip.compress(b"[1"),
        gzip.compress(b'["another", "release"]\n'),
        "cut",
        "line",
    ],
)
def test_a_cache_that_is_damaged_is_read_over(world: World, name: str, data: bytes | str) -> None:
    _merge(_filled(world))
    path = world.folder / "labels/read-before" / f"{name}.jsonl.gz"
    labels, whole = world.labels(), path.read_bytes()
    if data == "cut":
        data = whole[:-20]
    elif data == "line":
        data = gzip.compress(gzip.decompress(whole) + b'["key"]\n')
    path.write_bytes(data)
    assert len(_merge(world)) == (1 if name == "audit" else 6)
    assert world.labels() == labels
    assert _merge(world) == []


def test_a_cache_that_is_lost_changes_nothing(world: World) -> None:
    _merge(_filled(world))
    labels = world.labels()
    for name in CACHES:
        (world.folder / "labels/read-before" / f"{name}.jsonl.gz").unlink()
    assert len(_merge(world)) == 13
    assert world.labels() == labels


def test_what_was_deleted_is_forgotten(world: World) -> None:
    _merge(_filled(world))
    (world.folder / "annotations/1").unlink()
    _merge(world)
    path = world.folder / "labels/read-before/annotations.jsonl.gz"
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 1 + 5
