"""Send records to the collector without ever waiting for it.

Used by the front and by every worker, each with a `Telemetry` of its own made after
the fork. Nothing here raises or blocks: what cannot be sent at once is dropped and
counted, and the count travels with the next record that gets through.

SOCK_SEQPACKET and not SOCK_DGRAM: both keep message bounds, but Linux queues only
net.unix.max_dgram_qlen datagrams (10 unless somebody raised it) for a reader, and a
seqpacket connection as many as fit its send buffer. Linux only, as the image is.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from components.inference.records import LARGEST_MESSAGE, AnswerRecord, Record, encode

# What the kernel grants is at most net.core.wmem_max, 208 KiB on a plain machine.
_BUFFER_BYTES = 4 << 20
_RETRY_S = 0.1  # between attempts to reach an absent collector: an attempt costs 10 us
_BROKEN = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED)


class RecordSender(Protocol):
    """Takes records and returns at once."""

    def send(self, record: Record) -> None: ...


class NoTelemetry:
    """Takes records and forgets them."""

    def send(self, record: Record) -> None:
        """Forget the record."""


class Telemetry:
    """One process's way to the collector.

    dropped: records lost since the last one that got through.
    """

    def __init__(self, socket_path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._path = str(socket_path)
        self._clock = clock
        self._socket: socket.socket | None = None
        self._next_attempt = 0.0

    def send(self, record: Record) -> None:
        """Hand a record to the kernel, or count it as dropped."""
        try:
            self._deliver(record)
        except OSError as err:
            if err.errno == errno.EMSGSIZE:
                self._send_smaller(record)
                return
            if err.errno in _BROKEN:
                self.close()
            self.dropped += 1

    def close(self) -> None:
        """Close the connection; the next record opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _deliver(self, record: Record) -> None:
        message = encode(record, self.dropped)
        if len(message) > LARGEST_MESSAGE:
            raise OSError(errno.EMSGSIZE, "more than one message")
        try:
            self._connection().send(message)
        except (BrokenPipeError, ConnectionResetError):
            self.close()  # the collector was restarted: this record may still reach the new one
            self._connection().send(message)
        self.dropped = 0

    def _connection(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        now = self._clock()
        if now < self._next_attempt:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no collector a moment ago")
        self._next_attempt = now + _RETRY_S
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._next_attempt = 0.0
        return connection

    def _send_smaller(self, record: Record) -> None:
        """Send an answer too large for one message in halves, or with less in it."""
        if not isinstance(record, AnswerRecord):
            self.dropped += 1
            return
        half = len(record.images) // 2
        if half:
            self.send(record._replace(images=record.images[:half]))
            # The phases are those of the whole request: told once.
            self.send(record._replace(images=record.images[half:], phases_ms={}))
            return
        for smaller in _poorer(record):
            with contextlib.suppress(OSError):  # counted below when none gets through
                self._deliver(smaller)
                return
        self.dropped += 1


def _poorer(record: AnswerRecord) -> Iterator[AnswerRecord]:
    """Yield an answer of one image with less and less of what is large."""
    for image in record.images:
        lean = image._replace(embedding="")
        yield record._replace(images=(lean,))
        yield record._replace(images=(lean._replace(features=""),))
        yield record._replace(images=(lean._replace(features="", probabilities=""),))
