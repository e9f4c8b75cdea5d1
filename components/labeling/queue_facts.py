"""What merge has to know of the images that people labelled, read from the review queue."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from components.labeling.reading import in_parallel
from shared.component import review_queue
from shared.component.errors import InputError
from shared.component.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class Queued:
    """What the model said of an image, and when.

    day: UTC, as 2026-01-31: the image's batch.
    """

    model_version: str
    label: str
    day: str
    is_audit: bool


@dataclass(frozen=True)
class QueueFacts:
    """The review queue as far as the labelled images need it, by sha256.

    tasks: of labelled images. drawn: all images that were ever drawn for the audit; audit:
        the answers that are measured on them. gold: known labels. classes: all labels that
        a model has known. damaged: keys that hold no task.
    """

    tasks: Mapping[str, Queued]
    drawn: frozenset[str]
    audit: Mapping[str, Queued]
    gold: Mapping[str, str]
    classes: frozenset[str]
    damaged: tuple[str, ...] = ()


def read_facts(queue: ObjectStore, images: Iterable[str]) -> QueueFacts:
    """Read the tasks of `images` (sha256), the whole audit sample and the gold list.

    Raises:
        StorageError: the queue cannot be read.
        InputError: gold.json is damaged; without it gold images would be trained on.
    """
    damaged: list[str] = []
    classes: set[str] = set()
    # By name: what cannot be read was drawn all the same.
    drawn = {_sha256(entry.key): entry.key for entry in queue.list(review_queue.AUDIT)}
    audit = dict(_read(queue, drawn.values(), classes, damaged))
    keys = map(review_queue.task_key, sorted(set(images)))
    tasks = dict(_read(queue, keys, classes, damaged))
    sampled = {sha256: task for sha256, task in tasks.items() if task.is_audit}
    gold = _read_gold(queue)
    return QueueFacts(
        tasks=tasks,
        drawn=frozenset(drawn.keys() | sampled.keys()),
        audit=sampled | audit,
        gold=gold,
        classes=frozenset(classes | set(gold.values())),
        damaged=tuple(damaged),
    )


def _read(
    queue: ObjectStore, keys: Iterable[str], classes: set[str], damaged: list[str]
) -> Iterator[tuple[str, Queued]]:
    """Yield the tasks that are there, by sha256; a damaged one is noted and left out."""

    def read(key: str) -> tuple[str, review_queue.ReviewTask | None, bool]:
        data = queue.get(key)
        if data is None:
            return key, None, True
        try:
            return key, review_queue.read_task(data, key), True
        except InputError:
            return key, None, False

    for key, task, is_sound in in_parallel(read, keys):
        queued = _queued(task) if task else None
        if queued is None and (task or not is_sound):
            damaged.append(key)
        if task and queued:
            classes |= set(task.labels)
            yield _sha256(key), queued


def _queued(task: review_queue.ReviewTask) -> Queued | None:
    """Return what counts of a task, interned, since many are alike; None: it has no time."""
    try:
        day = datetime.fromtimestamp(task.time, UTC).date().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    version, label = sys.intern(task.model_version), sys.intern(task.label)
    return Queued(version, label, sys.intern(day), task.is_audit)


def _sha256(key: str) -> str:
    return PurePosixPath(key).stem


def _read_gold(queue: ObjectStore) -> dict[str, str]:
    data = queue.get(review_queue.GOLD)
    if data is None:
        return {}
    try:
        return review_queue.read_gold(json.loads(data))
    except (ValueError, AttributeError) as err:
        raise InputError(
            f"labeling: {queue.uri}/{review_queue.GOLD} is no JSON list of gold images: {err}; "
            "restore an earlier version of the object"
        ) from err
