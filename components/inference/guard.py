"""uvicorn's protocol with limits to what a request's head may take: bytes and time.

Without them a client may send headers without end, or a byte a minute, and both are kept.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
HEAD_TIMEOUT_S = 75.0  # as long as an idle connection is kept


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _is_head_open = True
    _head_bytes = 0
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; end the connection where they are no HTTP or too long a head."""
        was_open = self._is_head_open
        try:
            super().data_received(data)
        except (AttributeError, UnicodeDecodeError):  # a target without a path, or in no ASCII
            self.send_400_response("Invalid HTTP request received.")
            return
        if not self._is_head_open:
            return
        self._head_bytes = self._head_bytes + len(data) if was_open else 0
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The headers are too large.")
        elif self._overdue is None:
            self._await_head()

    def on_message_begin(self) -> None:
        self._is_head_open = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_head_open = False
        self._head_arrived()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._overdue = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _head_arrived(self) -> None:
        self._head_bytes = 0
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _give_up(self) -> None:
        self._overdue = None
        self.transport.close()
