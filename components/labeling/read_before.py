"""What a merge has read before, so that the next one reads only what changed.

A listing tells the ETag of a thousand objects; reading them is a thousand calls. Rows are
kept beside the labels, by key and ETag. The file is a cache: without it, or with one that
cannot be read, everything is read again, and what is no longer listed is forgotten.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar

from shared.component.object_store import CONNECTIONS, Entry, ObjectStore

log = logging.getLogger(__name__)
_FOLDER = "read-before/"
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, TypeError, LookupError)
_WINDOW = 512  # answers that wait to be taken; bodies of more would fill the memory
Row = TypeVar("Row")
Given = TypeVar("Given")
Found = TypeVar("Found")


class ReadBefore(Generic[Row]):
    """Rows of one kind of object. row: a dataclass of texts, numbers and tuples of texts."""

    def __init__(self, store: ObjectStore, name: str, row: type[Row]) -> None:
        self._store = store
        self._key = f"{_FOLDER}{name}.jsonl.gz"
        self._row = row
        # In the first line: rows of another release are not taken for ours.
        self._fields = list(row.__dataclass_fields__)  # type: ignore[attr-defined]

    def read(
        self, entries: Iterable[Entry], read: Callable[[str], Row | None]
    ) -> Iterator[tuple[str, Row | None]]:
        """Yield key and row of each entry, and keep the rows for the next time.

        read: reads what changed, in threads; None: there is no row, and none is kept.
        """
        before, now = self._load(), dict[str, tuple[str, Row]]()
        unread: dict[str, str] = {}
        for entry in entries:
            etag, row = before.get(entry.key, ("", None))
            if row is not None and etag == entry.etag:
                now[entry.key] = (etag, row)
                yield entry.key, row
            else:
                unread[entry.key] = entry.etag
        is_same = len(now) == len(before)
        del before
        for key, row in in_parallel(lambda key: (key, read(key)), unread):
            if row is not None:
                now[key] = (unread[key], row)
                is_same = False
            yield key, row
        if not is_same:
            self._store.put(self._key, self._encode(now))

    def _load(self) -> dict[str, tuple[str, Row]]:
        data = self._store.get(self._key)
        if data is None:
            return {}
        try:
            with gzip.open(io.BytesIO(data), "rt", encoding="utf-8") as lines:
                if json.loads(next(lines, "")) != self._fields:
                    return {}
                return {
                    key: (etag, self._decode(values)) for key, etag, values in map(_read, lines)
                }
        except _DAMAGE as err:
            log.warning("merge: %s is damaged (%r); everything is read again", self._key, err)
            return {}

    def _encode(self, rows: dict[str, tuple[str, Row]]) -> bytes:
        stream = io.BytesIO()
        with gzip.open(stream, "wt", compresslevel=1, encoding="utf-8") as lines:
            lines.write(json.dumps(self._fields) + "\n")
            for key, (etag, row) in rows.items():
                values = [getattr(row, name) for name in self._fields]
                lines.write(json.dumps([key, etag, values]) + "\n")
        return stream.getvalue()

    def _decode(self, values: list[Any]) -> Row:
        return self._row(*map(_shared, values))


def _read(line: str) -> tuple[str, str, list[Any]]:
    key, etag, values = json.loads(line)
    return key, etag, values


def _shared(value: Any) -> Any:
    """Return a value that rows share where they are alike."""
    if isinstance(value, str):
        return sys.intern(value)
    return tuple(map(_shared, value)) if isinstance(value, list) else value


def in_parallel(work: Callable[[Given], Found], items: Iterable[Given]) -> Iterator[Found]:
    """Yield what `work` returns for each item, in order, while others are being worked on."""
    waiting = iter(items)
    with ThreadPoolExecutor(CONNECTIONS) as readers:
        while window := list(islice(waiting, _WINDOW)):
            yield from readers.map(work, window)
