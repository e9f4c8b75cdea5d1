"""The client for multi-model-server's sockets, against servers that behave and that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from components.inference.upstream import Answer, Upstream, UpstreamError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nX-Error: no\r\ncontent-length: 2\r\n\r\nok"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(int(length.split(b": ")[1]))


def serving(tmp_path: Path, talk: Talk, use: Callable[[Upstream], Awaitable[object]]) -> object:
    async def run() -> object:
        path = tmp_path / "s"

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except asyncio.IncompleteReadError:
                pass  # the client has closed
            finally:
                writer.close()

        server = await asyncio.start_unix_server(one, str(path))
        upstream = Upstream(path)
        try:
            return await use(upstream)
        finally:
            upstream.close()
            server.close()

    return asyncio.run(run())


def test_connections_are_kept_and_answers_belong_to_their_requests(tmp_path: Path) -> None:
    connections = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            body = await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def use(upstream: Upstream) -> list[bytes]:
        together = [upstream.request("POST", "/", body=b"%d" % n) for n in range(3)]
        first = [answer.body for answer in await asyncio.gather(*together)]
        return [*first, *[(await upstream.request("POST", "/", body=b"x")).body for _ in range(4)]]

    assert serving(tmp_path, echo, use) == [b"0", b"1", b"2", b"x", b"x", b"x", b"x"]
    assert len(connections) == 3


def test_an_answer_in_pieces_is_put_together(tmp_path: Path) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()

    found = serving(tmp_path, drip, lambda upstream: upstream.request("GET", "/"))
    assert found == Answer(200, {"x-error": "no", "content-length": "2"}, b"ok")


def test_a_connection_closed_while_idle_is_replaced(tmp_path: Path) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)

    async def use(upstream: Upstream) -> list[bytes]:
        return [(await upstream.request("GET", "/")).body for _ in range(3)]

    assert serving(tmp_path, once, use) == [b"ok"] * 3


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"?"])
def test_half_an_answer_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    with pytest.raises(UpstreamError):
        serving(tmp_path, half, lambda upstream: upstream.request("GET", "/"))


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="cannot connect"):
        asyncio.run(Upstream(tmp_path / "nobody").request("GET", "/"))


def test_the_answer_to_a_request_given_up_is_not_given_to_the_next(tmp_path: Path) -> None:
    may_answer = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = await read_request(reader)
            if body == b"slow":
                await may_answer.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def use(upstream: Upstream) -> bytes:
        await upstream.request("POST", "/", body=b"warm")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await upstream.request("POST", "/", body=b"slow")
        may_answer.set()
        return (await upstream.request("POST", "/", body=b"next")).body

    assert serving(tmp_path, late, use) == b"next"
