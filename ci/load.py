"""A closed-loop HTTP load: so many clients, each asking again as soon as it is answered.

Runs in a process of its own, uvloop and httptools, so that it costs the server's machine
little. Every answer's status is checked, and its content by `check`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
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


@dataclass
class _Slice:
    """A stretch of time with one target.

    start, end: of what counts, on perf_counter's clock; what was asked before is not counted.
    """

    target: Target
    messages: list[bytes]
    start: float
    end: float
    found: Load


def measure(target: Target, clients: int, seconds: float, warm_s: float = 0.5) -> Load:
    """Load a server from a child process and return what it found."""
    return take_turns([target], clients, seconds, turns=1, settle_s=warm_s)[0][0]


def take_turns(
    targets: Sequence[Target], clients: int, seconds: float, turns: int, settle_s: float
) -> list[list[Load]]:
    """Ask targets of one server in turn, over the same connections; [turn][target].

    Every turn asks each of them for so many seconds, in an order drawn by lot. What is
    answered in the first settle_s after a change is not counted.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    how = (targets, clients, seconds, turns, settle_s, sender)
    child = context.Process(target=_run, args=how)
    child.start()
    sender.close()
    try:
        found: list[list[Load]] = receiver.recv()
    finally:
        child.join()
    return found


def _run(
    targets: Sequence[Target],
    clients: int,
    seconds: float,
    turns: int,
    settle_s: float,
    sender: object,
) -> None:
    import uvloop

    messages = [[t.message(number) for number in range(len(t.bodies))] for t in targets]
    rows = [[Load(clients, seconds) for _ in targets] for _ in range(turns)]
    plan, start = [], time.perf_counter()
    lots = random.Random(0)  # noqa: S311 - no secret
    for row in rows:
        for index in lots.sample(range(len(targets)), len(targets)):
            start += settle_s
            asked = targets[index], messages[index]
            plan.append(_Slice(*asked, start, start + seconds, row[index]))
            start += seconds
    uvloop.run(_load(plan, clients))
    sender.send(rows)  # type: ignore[attr-defined]  # a Connection


async def _load(plan: Sequence[_Slice], clients: int) -> None:
    await asyncio.gather(*(_client(plan, 7 * number) for number in range(clients)))
    for part in plan:
        part.found.latencies_ms.sort()


async def _client(plan: Sequence[_Slice], first: int) -> None:
    loop = asyncio.get_running_loop()
    port = plan[0].target.port
    _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
    number = first
    await asyncio.sleep(plan[0].target.every_s * (first % 101) / 101)  # not all at one moment
    for part in plan:
        target, found = part.target, part.found
        while (begun := time.perf_counter()) < part.end:
            number = (number + 1) % len(part.messages)
            status, body = await connection.exchange(part.messages[number])
            ended = time.perf_counter()
            if status != 200 or not target.check(number, body):
                found.wrong += 1
                found.first_wrong = found.first_wrong or f"{status} {body[:200]!r}"
            elif begun >= part.start and ended <= part.end:
                found.latencies_ms.append(1e3 * (ended - begun))
                if target.tell is not None:
                    found.told.append(target.tell(connection.headers))
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
