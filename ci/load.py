"""A closed-loop HTTP load: so many clients, each asking again as soon as it is answered.

Runs in a process of its own, uvloop and httptools, so that it costs the server's machine
little. Every answer's status is checked, and its content by `check`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools


@dataclass
class Load:
    """What a load found.

    latencies_ms: of every request, sorted.
    wrong: answers whose status or content was not as expected.
    told: what `tell` read from the headers of right answers, in no order.
    """

    clients: int
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    wrong: int = 0
    first_wrong: str = ""
    told: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return answers a second."""
        return len(self.latencies_ms) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return self.latencies_ms[
            min(int(share * len(self.latencies_ms)), len(self.latencies_ms) - 1)
        ]


@dataclass(frozen=True)
class Target:
    """Where and what to ask.

    bodies: one request's body each, taken in turn.
    check: says whether the answer to body number n is right.
    tell: takes a figure from an answer's headers, names in lower case; None: none is wanted.
    every_s: a client asks again so long after it asked, where it was answered by then; 0: at once.
    """

    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    bodies: Sequence[bytes]
    check: Callable[[int, bytes], bool]
    tell: Callable[[list[tuple[bytes, bytes]]], float] | None = None
    every_s: float = 0.0

    def message(self, number: int) -> bytes:
        body = self.bodies[number]
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measure(target: Target, clients: int, seconds: float, warm_s: float = 0.5) -> Load:
    """Load a server from a child process and return what it found."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(target, clients, seconds, warm_s, sender))
    child.start()
    sender.close()
    try:
        found: Load = receiver.recv()
    finally:
        child.join()
    return found


def _run(target: Target, clients: int, seconds: float, warm_s: float, sender: object) -> None:
    import uvloop

    found = uvloop.run(_load(target, clients, seconds, warm_s))
    sender.send(found)  # type: ignore[attr-defined]  # a Connection


async def _load(target: Target, clients: int, seconds: float, warm_s: float) -> Load:
    messages = [target.message(number) for number in range(len(target.bodies))]
    found = Load(clients, seconds)
    start = time.perf_counter() + warm_s
    tasks = [
        asyncio.create_task(_client(target, messages, 7 * n, start, start + seconds, found))
        for n in range(clients)
    ]
    await asyncio.gather(*tasks)
    found.latencies_ms.sort()
    return found


async def _client(
    target: Target, messages: list[bytes], first: int, start: float, end: float, found: Load
) -> None:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", target.port)
    number = first % len(messages)
    await asyncio.sleep(target.every_s * (first % 101) / 101)  # not all at one moment
    while (begun := time.perf_counter()) < end:
        status, body = await connection.exchange(messages[number])
        ended = time.perf_counter()
        if status != 200 or not target.check(number, body):
            found.wrong += 1
            found.first_wrong = found.first_wrong or f"{status} {body[:200]!r}"
        elif begun >= start and ended <= end:
            found.latencies_ms.append(1e3 * (ended - begun))
            if target.tell is not None:
                found.told.append(target.tell(connection.headers))
        number = (number + 1) % len(messages)
        if target.every_s:
            await asyncio.sleep(max(0.0, begun + target.every_s - ended))
    connection.close()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; httptools calls the on_... methods."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derive from nothing
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    async def exchange(self, message: bytes) -> tuple[int, bytes]:
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self._transport.write(message)
        return await self._waiting

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((0, b"connection lost"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._waiting is not None  # noqa: S101 - exchange() has set it
        if not self._waiting.done():
            self._waiting.set_result((self._parser.get_status_code(), b"".join(self._body)))
