"""uvicorn's protocol, kinder to those who are quick and firmer with those who are not.

Without limits to a request's head a client may send headers without end, or a byte a
minute, and both are kept. And at the end uvicorn closes connections whose request has
arrived and is not read yet.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
HEAD_TIMEOUT_S = 75.0  # as long as an idle connection is kept
LAST_REQUEST_S = 1.0  # for what a client sent before it could know of the end, be it slow


class JoiningTransport(asyncio.Transport):
    """A transport that sends together what is written together.

    uvicorn writes the head of a response, then its body. Each would be a system call, and a
    client that is woken twice; both wait for the loop's next round instead.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: Any) -> None:
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def close(self) -> None:
        """Close once all that was written is sent."""
        self._send()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def _send(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _is_head_open = True
    _is_ending = False
    _head_bytes = 0
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoiningTransport(transport, self.loop))
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
        if self._is_ending:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Answer what is being answered or comes at once, then close."""
        self._is_ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_REQUEST_S, self._close_unless_busy)
        else:
            self.cycle.keep_alive = False

    def _close_unless_busy(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

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
