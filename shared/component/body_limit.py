"""How much a client may send: ASGI middleware that refuses before anything is read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class BodyLimit:
    """Refuses bodies of more than `most_bytes`, by what they say and by what comes."""

    def __init__(self, app: App, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {n.lower(): v for n, v in scope["headers"]}
        if refusal := self._refusal(headers):
            await respond(send, *refusal)
            return
        await self._app(scope, self._limited(receive), send)

    def _refusal(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most_bytes:
            return 413, f"at most {self._most_bytes} bytes"
        if b"transfer-encoding" in headers and b"content-length" not in headers:
            return 411, "say how long the body is"
        return None

    def _limited(self, receive: Receive) -> Receive:
        left = self._most_bytes

        async def take() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        return take


async def respond(
    send: Send, status: int, text: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with an error as JSON; what is left of a body that is too long is not waited for."""
    body = json.dumps({"error": text}).encode()
    sent = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    if status in (411, 413):
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
