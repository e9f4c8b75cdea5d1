"""Read the whole annotation prefix: many small objects at once, each kept as one small row.

The whole prefix and no events: what an event told too late, twice or never is there all the
same, and so is what was deleted not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from shared.component.annotations import NOT_AN_ANNOTATION, Annotation, latest, parse
from shared.component.object_store import CONNECTIONS, ObjectStore

log = logging.getLogger(__name__)
_WINDOW = 512  # answers that wait to be taken; bodies of more would fill the memory
Given = TypeVar("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Reading:
    """The last state of every annotation that is there.

    objects: that were listed. unreadable: keys of those that are no annotation.
    """

    annotations: list[Annotation]
    objects: int
    unreadable: tuple[str, ...] = ()


def read_annotations(store: ObjectStore) -> Reading:
    """Read all annotations.

    Raises:
        StorageError: one cannot be read. A network that fails must not look like
            annotations that somebody deleted.
    """
    unreadable: list[str] = []
    rows: list[Annotation] = []
    objects = 0

    def read(key: str) -> tuple[str, list[Annotation] | None]:
        data = store.get(key)
        if data is None:
            return key, []  # deleted since it was listed
        try:
            return key, list(parse(json.loads(data)))
        except NOT_AN_ANNOTATION:
            return key, None

    for key, found in in_parallel(read, (entry.key for entry in store.list())):
        objects += 1
        if found is None:
            unreadable.append(key)
        else:
            rows += found
    if unreadable:
        log.warning("annotations: unreadable=%d, first: %s", len(unreadable), unreadable[0])
    return Reading(latest(rows), objects, tuple(unreadable))


def in_parallel(work: Callable[[Given], Found], items: Iterable[Given]) -> Iterator[Found]:
    """Yield what `work` returns for each item, in order, while others are being worked on."""
    waiting = iter(items)
    with ThreadPoolExecutor(CONNECTIONS) as readers:
        while window := list(islice(waiting, _WINDOW)):
            yield from readers.map(work, window)
