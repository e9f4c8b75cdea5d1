"""What operators did: one object an action, and a line in the log.

<audit_log>/<day>/<time>-<random>.json
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from shared.component.errors import StorageError
from shared.component.object_store import ObjectStore

log = logging.getLogger(__name__)
_MOST_TEXT = 500


@dataclass(frozen=True)
class Entry:
    """One action. time: ISO 8601, UTC."""

    time: str
    visitor: str
    action: str
    subject: str
    before: Any = None
    after: Any = None
    comment: str = ""


@dataclass(frozen=True)
class AuditLog:
    """Writes down and reads back; store None: the process's log alone.

    clock: seconds since the epoch.
    """

    store: ObjectStore | None
    clock: Callable[[], float]

    def write(
        self,
        visitor: str,
        action: str,
        subject: str,
        before: Any = None,
        after: Any = None,
        comment: str = "",
    ) -> None:
        """Write an action down.

        Raises:
            StorageError: it cannot be written.
        """
        now = datetime.fromtimestamp(self.clock(), UTC)
        entry = Entry(
            now.isoformat(timespec="milliseconds"),
            visitor[:_MOST_TEXT],
            action,
            subject[:_MOST_TEXT],
            before,
            after,
            comment[:_MOST_TEXT],
        )
        text = json.dumps(asdict(entry), sort_keys=True)
        log.info("audit: %s", text)
        if self.store is not None:
            name = f"{now:%Y-%m-%d}/{now:%H%M%S.%f}-{secrets.token_hex(4)}.json"
            self.store.put_new(name, text.encode())

    def last(self, count: int) -> list[Entry]:
        """Return the newest actions, the newest first.

        Raises:
            StorageError: they cannot be read.
        """
        if self.store is None:
            return []
        keys = sorted((found.key for found in self.store.list()), reverse=True)
        texts = (self.store.get(key) for key in itertools.islice(keys, count))
        return [_read(text) for text in texts if text is not None]


def _read(text: bytes) -> Entry:
    try:
        body = json.loads(text)
        return Entry(**{n: body[n] for n in Entry.__dataclass_fields__ if n in body})
    except (ValueError, TypeError, KeyError) as err:
        raise StorageError(
            f"audit: an entry is damaged: {err!r}; somebody else writes there"
        ) from err
