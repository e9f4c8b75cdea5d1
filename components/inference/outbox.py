"""Bring objects to the sink in a thread of its own, from a bounded backlog.

A put that fails is tried again with growing waits; when the backlog is full the oldest
object is lost and counted. The collector never waits, whatever the sink does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from components.inference.sinks import Sink
from shared.component.errors import StorageError

log = logging.getLogger(__name__)
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Parcel:
    """One object on its way.

    data: its bytes, or the file that holds them, which is removed once it is put or lost.
    size: bytes, on whichever of the two they lie.
    is_new_only: an object that is there already stays as it is.
    """

    key: str
    data: bytes | Path
    size: int
    is_new_only: bool = False


class Outbox:
    """A backlog before a sink.

    max_bytes: backlog at most; first_wait_s: after the first failure, doubled each time.
    lost, put: parcels since the start.
    """

    def __init__(self, sink: Sink, max_bytes: int = 64 << 20, first_wait_s: float = _FIRST_WAIT_S):
        self._sink = sink
        self._max_bytes = max_bytes
        self._first_wait_s = first_wait_s
        self._queue: deque[Parcel] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self.lost = 0
        self.put = 0
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def add(self, parcel: Parcel) -> None:
        """Queue a parcel; the oldest are lost when there is no room."""
        with self._changed:
            self._queue.append(parcel)
            self._bytes += parcel.size
            while self._bytes > self._max_bytes:
                self._lose(self._queue[0])
            self._changed.notify()

    def sources(self) -> set[Path]:
        """Return the files that parcels still wait for."""
        with self._changed:
            return {p.data for p in self._queue if isinstance(p.data, Path)}

    def close(self, timeout_s: float) -> None:
        """Bring away what can be brought away in that time; the rest is lost."""
        with self._changed:
            self._deadline = time.monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s + 1)
        with self._changed:
            # Their files stay in the spool, where the next collector removes them in time.
            self.lost += len(self._queue)
            self._queue.clear()

    def _work(self) -> None:
        failures = 0
        while (parcel := self._next()) is not None:
            if self._deliver(parcel, failures):
                failures = 0
                continue
            failures += 1
            if self._pause(min(self._first_wait_s * 2 ** (failures - 1), _LONGEST_WAIT_S)):
                return

    def _next(self) -> Parcel | None:
        """Return the oldest parcel, which stays in the queue; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._deadline is not None)
            return self._queue[0] if self._queue else None

    def _deliver(self, parcel: Parcel, failures: int) -> bool:
        try:
            if not (parcel.is_new_only and self._sink.exists(parcel.key)):
                is_file = isinstance(parcel.data, Path)
                self._sink.put(parcel.key, parcel.data.read_bytes() if is_file else parcel.data)
        except FileNotFoundError:
            if not isinstance(parcel.data, Path) or parcel.data.exists():
                return False
            self._done(parcel, is_lost=True)  # the file is gone from the spool: no use in trying
            return True
        except (OSError, StorageError) as err:
            if failures == 0:
                log.warning("outbox: %s is not put, trying again: %s", parcel.key, err)
            return False
        self._done(parcel, is_lost=False)
        return True

    def _pause(self, wait_s: float) -> bool:
        """Wait before the next attempt; True when there is none."""
        with self._changed:
            is_closing = self._changed.wait_for(lambda: self._deadline is not None, wait_s)
        if not is_closing or self._deadline is None:
            return False
        # Closing: try quickly until the time is up.
        time.sleep(min(0.05, wait_s))
        return time.monotonic() >= self._deadline

    def _done(self, parcel: Parcel, is_lost: bool) -> None:
        with self._changed:
            if not self._queue or self._queue[0] is not parcel:
                return  # lost to a newer one while it was under way
            if is_lost:
                self._lose(parcel)
                return
            self._remove(parcel)
            self.put += 1

    def _lose(self, parcel: Parcel) -> None:
        self._remove(parcel)
        self.lost += 1

    def _remove(self, parcel: Parcel) -> None:
        self._queue.popleft()
        self._bytes -= parcel.size
        if isinstance(parcel.data, Path):
            try:
                parcel.data.unlink(missing_ok=True)
            except OSError as err:
                log.warning("outbox: cannot remove %s: %s", parcel.data, err)
