"""What a connection sends, piece by piece, over uvicorn's own protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from components.inference.guard import GuardedProtocol, JoiningTransport

_REQUEST = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"


class Wire(asyncio.Transport):
    """Remembers what would be sent; a name for the end."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default


async def _echo(_scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0)


async def _connected() -> tuple[GuardedProtocol, Wire]:
    config = uvicorn.Config(_echo, lifespan="off", log_config=None)
    config.load()
    protocol, wire = GuardedProtocol(config, ServerState(), {}), Wire()
    protocol.connection_made(wire)
    return protocol, wire


def test_head_and_body_of_an_answer_leave_together() -> None:
    async def ask() -> None:
        protocol, wire = await _connected()
        for _ in range(2):  # the connection is kept
            wire.sent.clear()
            protocol.data_received(_REQUEST + b"\r\nok")
            await _until(lambda: bool(wire.sent))
            (answer,) = wire.sent
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nok")
        protocol.connection_lost(None)

    asyncio.run(ask())


def test_who_expects_a_word_before_the_body_gets_it_at_once() -> None:
    async def ask() -> None:
        protocol, wire = await _connected()
        protocol.data_received(_REQUEST + b"expect: 100-continue\r\n\r\n")
        await _until(lambda: bool(wire.sent))
        assert wire.sent == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        protocol.data_received(b"ok")
        await _until(lambda: len(wire.sent) == 2)
        assert wire.sent[1].endswith(b"\r\n\r\nok")
        protocol.connection_lost(None)

    asyncio.run(ask())


def test_an_answer_is_sent_before_the_connection_is_closed() -> None:
    async def ask() -> None:
        protocol, wire = await _connected()
        protocol.data_received(_REQUEST + b"connection: close\r\n\r\nok")
        await _until(lambda: wire.is_closed)
        (answer,) = wire.sent
        assert answer.endswith(b"\r\n\r\nok")

    asyncio.run(ask())


def test_what_is_written_after_the_client_has_gone_is_dropped() -> None:
    async def write() -> None:
        wire = Wire()
        transport = JoiningTransport(wire, asyncio.get_running_loop())
        transport.write(b"late")
        wire.close()
        await asyncio.sleep(0)
        assert wire.sent == []

    asyncio.run(write())
