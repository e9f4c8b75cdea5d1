"""A client for multi-model-server's unix sockets: kept connections, one request each at a time.

Our own, since it is on the path of every request: aiohttp's client costs more than the
whole rest of the front. Messages are read by httptools, the parser that uvicorn uses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools


class UpstreamError(Exception):
    """The server closed the connection, or cannot be reached."""


@dataclass(frozen=True)
class Answer:
    """A whole response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Upstream:
    """A server on a unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Connection] = []  # the last used first: the others may time out

    async def request(self, method: str, path: str, headers: str = "", body: bytes = b"") -> Answer:
        """Send a request and return the whole response.

        headers: further header lines, each ended by CRLF.
        Raises:
            UpstreamError: the server cannot be reached, or closed before it had answered.
        """
        line = f"{method} {path} HTTP/1.1\r\n"
        head = f"{line}host: model\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        message = head.encode("latin-1") + body
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                try:
                    return await self._exchange(connection, message)
                except UpstreamError:
                    if connection.has_answered:
                        raise  # half an answer: the work was begun
                    break  # it was closed while idle: once more on a new one
        return await self._exchange(await self._connect(), message)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(_Connection, str(self._path))
        except OSError as err:
            raise UpstreamError(f"cannot connect: {err.strerror or err}") from err
        return connection

    async def _exchange(self, connection: _Connection, message: bytes) -> Answer:
        try:
            answer = await connection.exchange(message)
        except BaseException:  # cancelled, too: what follows on it would be the wrong answer
            connection.close()
            raise
        if connection.is_open:
            self._idle.append(connection)
        return answer


class _Connection(asyncio.Protocol):
    """One connection; httptools calls the on_... methods."""

    def __init__(self) -> None:
        self.is_open = False
        self.has_answered = False
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None

    async def exchange(self, message: bytes) -> Answer:
        assert self._transport is not None  # noqa: S101 - made by create_unix_connection
        self._waiting = asyncio.get_running_loop().create_future()
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self.has_answered = False
        self._transport.write(message)
        return await self._waiting

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(UpstreamError(f"connection lost: {exc or 'closed'}"))

    def data_received(self, data: bytes) -> None:
        self.has_answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, AttributeError) as err:  # also: spoke unasked
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(UpstreamError(f"no HTTP: {err}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(
                Answer(self._parser.get_status_code(), self._headers, b"".join(self._body))
            )
