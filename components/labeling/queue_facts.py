"""What merge has to know of the images that people labelled, read from the review queue."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from components.labeling.read_before import ReadBefore
from shared.component import review_queue
from shared.component.errors import InputError
from shared.component.object_store import Entry, ObjectStore


@dataclass(frozen=True, slots=True)
class Queued:
    """What the model said of an image, and when.

    day: UTC, as 2026-01-31: the image's batch. classes: all that the model knew.
    """

    model_version: str
    label: str
    day: str
    is_audit: bool
    classes: tuple[str, ...] = ()


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


def read_facts(queue: ObjectStore, images: Iterable[str], cache: ObjectStore) -> QueueFacts:
    """Read the tasks of `images` (sha256), the whole audit sample and the gold list.

    cache: where rows that were read before are kept.

    Raises:
        StorageError: the queue cannot be read.
        InputError: gold.json is damaged; without it gold images would be trained on.
    """
    damaged: list[str] = []
    # By name: what cannot be read was drawn all the same.
    audit_entries = list(queue.list(review_queue.AUDIT))
    drawn = {_sha256(entry.key) for entry in audit_entries}
    audit = _read(queue, ReadBefore(cache, "audit", Queued), audit_entries, damaged)
    wanted = set(map(review_queue.task_key, images))
    entries = (entry for entry in queue.list(review_queue.TASKS) if entry.key in wanted)
    tasks = _read(queue, ReadBefore(cache, "tasks", Queued), entries, damaged)
    sampled = {sha256: task for sha256, task in tasks.items() if task.is_audit}
    gold = _read_gold(queue)
    known = {name for task in (*tasks.values(), *audit.values()) for name in task.classes}
    return QueueFacts(
        tasks=tasks,
        drawn=frozenset(drawn | sampled.keys()),
        audit=sampled | audit,
        gold=gold,
        classes=frozenset(known | set(gold.values())),
        damaged=tuple(sorted(damaged)),
    )


def _read(
    queue: ObjectStore, before: ReadBefore[Queued], entries: Iterable[Entry], damaged: list[str]
) -> dict[str, Queued]:
    """Return the tasks by sha256; a damaged one is noted and left out."""

    def read(key: str) -> Queued | None:
        data = queue.get(key)
        if data is None:
            return None
        try:
            return _queued(review_queue.read_task(data, key))
        except (InputError, TypeError, ValueError, OverflowError, OSError):
            damaged.append(key)
            return None

    return {_sha256(key): row for key, row in before.read(entries, read) if row is not None}


def _queued(task: review_queue.ReviewTask) -> Queued:
    """Return what counts of a task, interned, since many are alike; ValueError: no time."""
    day = datetime.fromtimestamp(task.time, UTC).date().isoformat()
    version, label = sys.intern(task.model_version), sys.intern(task.label)
    return Queued(
        version, label, sys.intern(day), task.is_audit, tuple(map(sys.intern, task.labels))
    )


def _sha256(key: str) -> str:
    return PurePosixPath(key).stem


def _read_gold(queue: ObjectStore) -> dict[str, str]:
    data = queue.get(review_queue.GOLD)
    if data is None:
        return {}
    try:
        return review_queue.read_gold(json.loads(data))
    except (ValueError, RecursionError) as err:
        raise InputError(
            f"labeling: {queue.uri}/{review_queue.GOLD} is no JSON list of gold images: {err}; "
            "restore an earlier version of the object"
        ) from err
