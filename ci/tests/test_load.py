"""A load in turns puts every answer to its own kind, and a ratio finds what is slower."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from ci import telemetry_latency
from ci.load import Target, measure, take_turns
from ci.served import BenchError
from ci.telemetry_latency import latency_ratios, ratio_of

_SLOW_S, _FAST_S = 0.02, 0.005


@dataclass
class Server:
    """Answers its body; slowly where a request is to be reported."""

    port: int = 0
    kinds: Counter[bytes] = field(default_factory=Counter)
    connections: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await self._head(reader):
            kind = head.partition(b"record=")[2].partition(b"\r")[0]
            self.kinds[kind] += 1
            body = await reader.readexactly(2)
            await asyncio.sleep(_SLOW_S if kind == b"true" else _FAST_S)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body)
        writer.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # the client has gone
            return b""


@contextmanager
def _running() -> Iterator[Server]:
    server, loop, is_up = Server(), asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(server.take, "127.0.0.1", 0) as listener:
            server.port = listener.sockets[0].getsockname()[1]
            is_up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert is_up.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def _target(server: Server, right: bytes = b"") -> Target:
    bodies = [b"aa", b"bb", b"cc"]
    return Target(
        server.port, "/", (), bodies, lambda number, body: body == (right or bodies[number])
    )


def test_turns_keep_kinds_apart_and_connections_open() -> None:
    with _running() as server:
        target = _target(server)
        slow = Target(**vars(target) | {"headers": (("x", "record=true"),)})
        rows = take_turns([slow, target], clients=3, seconds=0.2, turns=3, settle_s=0.05)
    assert server.connections == 3
    assert set(server.kinds) == {b"true", b""}
    for slow_load, fast_load in rows:
        assert slow_load.wrong == fast_load.wrong == 0
        assert min(slow_load.latencies_ms) >= 1e3 * _SLOW_S
        assert min(fast_load.latencies_ms) >= 1e3 * _FAST_S
        assert fast_load.rate > slow_load.rate > 0


def test_a_wrong_answer_is_counted_and_shown() -> None:
    with _running() as server:
        load = measure(_target(server, right=b"zz"), clients=1, seconds=0.1, warm_s=0)
    assert load.wrong > 0
    assert load.first_wrong.startswith("200 b'")
    assert not load.latencies_ms


def test_what_telemetry_adds_is_found_and_the_control_finds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry_latency, "_TURN_S", 0.1)
    monkeypatch.setattr(telemetry_latency, "_SETTLE_S", 0.03)
    with _running() as server:
        found = latency_ratios(_target(server), turns=4)
        with pytest.raises(BenchError, match="wrong answers, first: 200"):
            latency_ratios(_target(server, right=b"zz"), turns=1)
    assert found["p50"]["on against off"]["ratio"] > 1.5
    assert found["p50"]["off against off"]["ratio"] < 1.5
    assert set(server.kinds) == {b"true", b"false"}


def test_a_ratio_is_the_middle_pairs_geometric_mean_with_its_interval() -> None:
    ratios = np.array([1.02, 1.02, 1.02, 1.02, 0.98, 0.98, 0.98, 0.98, 100.0, 0.01])
    found = ratio_of(ratios, np.ones(10))
    assert found["ratio"] == pytest.approx(0.9998, abs=1e-4)  # of 0.98 and 1.02
    # The outer two count as their neighbours: deviation 0.0211 of ten logs, over 0.8 sqrt(10);
    # Student's t with 7 degrees of freedom: 2.3646.
    assert found["its_95_percent_interval"] == pytest.approx([0.9803, 1.0197], abs=3e-4)
