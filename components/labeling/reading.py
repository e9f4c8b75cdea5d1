"""Read the whole annotation prefix: many small objects at once, each kept as one small row.

The whole prefix and no events: what an event told too late, twice or never is there all the
same, and so is what was deleted not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.labeling.read_before import ReadBefore
from shared.component.annotations import NOT_AN_ANNOTATION, Annotation, latest, parse
from shared.component.object_store import Entry, ObjectStore

log = logging.getLogger(__name__)
# An annotation has 2 kB, an export of 10,000 tasks 20 MB; Label Studio takes 250 MB of anybody,
# and a few of those read at once would end every merge.
_MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Reading:
    """The last state of every annotation that is there.

    objects: that were listed. unreadable: keys of those that are no annotation, or too large.
    """

    annotations: list[Annotation]
    objects: int
    unreadable: tuple[str, ...] = ()


def read_annotations(store: ObjectStore, cache: ObjectStore) -> Reading:
    """Read all annotations; cache: where rows that were read before are kept.

    Raises:
        StorageError: one cannot be read. A network that fails must not look like
            annotations that somebody deleted.
    """
    unreadable: list[str] = []
    too_large: list[str] = []
    rows: list[Annotation] = []
    objects = 0

    def read(key: str) -> Annotation | None:
        data = store.get(key)
        if data is None:
            return None  # deleted since it was listed
        try:
            found = list(parse(json.loads(data)))
        except NOT_AN_ANNOTATION:
            unreadable.append(key)
            return None
        if len(found) == 1:
            return found[0]
        rows.extend(found)  # of an export; read anew each time
        return None

    small = _small(store.list(), too_large)
    for _, row in ReadBefore(cache, "annotations", Annotation).read(small, read):
        objects += 1
        if row is not None:
            rows.append(row)
    unreadable += too_large
    if unreadable:
        log.warning("annotations: unreadable=%d, first: %s", len(unreadable), min(unreadable))
    return Reading(latest(rows), objects + len(too_large), tuple(sorted(unreadable)))


def _small(entries: Iterable[Entry], too_large: list[str]) -> Iterator[Entry]:
    for entry in entries:
        if entry.size <= _MOST_BYTES:
            yield entry
        else:
            too_large.append(entry.key)
