"""A server that lets more through than was announced is stopped behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components.labeling.guard import Guard, Message
from components.labeling.settings import Secrets


@pytest.mark.parametrize(("sizes", "expected"), [((4, 6), 10), ((4, 7), 4)])
def test_a_body_longer_than_announced_ends_at_the_limit(
    sizes: tuple[int, ...], expected: int
) -> None:
    coming = [{"type": "http.request", "body": b"x" * size} for size in sizes]
    taken: list[int] = []

    async def app(_scope: Message, receive: Any, _send: Any) -> None:
        for _ in sizes:
            message = await receive()
            if message["type"] == "http.request":
                taken.append(len(message["body"]))

    async def receive() -> Message:
        return coming.pop(0)

    async def send(_message: Message) -> None:
        raise AssertionError

    scope = {"type": "http", "path": "/predict", "headers": [(b"content-length", b"1")]}
    asyncio.run(Guard(app, Secrets(), most_bytes=10)(scope, receive, send))
    assert sum(taken) == expected
