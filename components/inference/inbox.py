"""The collector's end of the telemetry socket: many senders, whole messages.

Reads without waiting. What it does not read in time stays in the kernel, whose buffers
are bounded, so that senders drop and count; nothing grows here.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

from components.inference.records import LARGEST_MESSAGE

_BUFFER_BYTES = 4 << 20  # the kernel grants at most net.core.rmem_max
_MOST_SENDERS = 64
_MOST_AT_ONCE = 2000  # messages of one sender before the others have their turn


class Inbox:
    """A listening socket and the senders that are connected."""

    def __init__(self, path: Path) -> None:
        # Under its name only when it listens: whoever sees it may connect.
        aside = path.with_suffix(".new")
        aside.unlink(missing_ok=True)  # left by a collector that was killed
        self._path = path
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind(str(aside))
        aside.chmod(0o600)
        self._listener.listen(_MOST_SENDERS)
        aside.replace(path)
        self._selector.register(self._listener, selectors.EVENT_READ)
        # One buffer for all: a fresh one of the largest size each time would cost more.
        self._buffer = memoryview(bytearray(LARGEST_MESSAGE))

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as there is something to read, False after the timeout."""
        return bool(self._selector.select(timeout_s))

    def messages(self) -> Iterator[bytes]:
        """Yield what has arrived."""
        for key, _ in self._selector.select(0):
            if key.fileobj is self._listener:
                self._accept()
        for key, _ in self._selector.select(0):
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._listener:
                yield from self._read(key.fileobj)

    def close(self) -> None:
        """Close all and remove the socket."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                sender, _ = self._listener.accept()
            except OSError:  # none is waiting, or the sender has gone again
                return
            if len(self._selector.get_map()) > _MOST_SENDERS:
                sender.close()
                continue
            sender.setblocking(False)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._selector.register(sender, selectors.EVENT_READ)

    def _read(self, sender: socket.socket) -> Iterator[bytes]:
        for _ in range(_MOST_AT_ONCE):
            try:
                size = sender.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                size = 0
            if size == 0:  # gone: no record is empty
                self._selector.unregister(sender)
                sender.close()
                return
            yield bytes(self._buffer[:size])
