"""Who may talk to the ML backend, and how much: decided before anything is read.

GET  /health      anybody; it tells nothing
POST /webhook     the secret header, or the name and password: else 403
anything else     name and password (HTTP basic): else 401
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging

from components.labeling.settings import Secrets
from shared.component.body_limit import App, BodyLimit, Message, Receive, Send, respond

log = logging.getLogger(__name__)
SECRET_HEADER = "X-Visionloop-Secret"  # noqa: S105 - its name
# Label Studio sends every selected task with all its annotations in one request.
MOST_BYTES = 32 << 20


class Guard:
    """ASGI middleware. Without configured secrets it lets everybody in (loopback only)."""

    def __init__(self, app: App, secrets: Secrets, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._secrets = secrets
        self._limited = BodyLimit(self._let_in, most_bytes)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._limited(scope, receive, send)

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {n.lower(): v for n, v in scope["headers"]}
        if refusal := self._refusal(scope["path"], headers):
            log.warning("%s refused: %s", scope["path"][:100], refusal[1])
            named = [(b"www-authenticate", b'Basic realm="visionloop"')] * (refusal[0] == 401)
            await respond(send, *refusal, named)
            return
        await self._app(scope, receive, send)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if path == "/health" or not self._secrets.has_backend:
            return None
        is_known = self._has_password(headers.get(b"authorization", b""))
        if path == "/webhook":
            secret = headers.get(SECRET_HEADER.lower().encode(), b"")
            is_told = hmac.compare_digest(secret, self._secrets.webhook_secret.encode())
            return None if is_told or is_known else (403, "the secret is wrong")
        return None if is_known else (401, "name or password is wrong")

    def _has_password(self, header: bytes) -> bool:
        kind, _, coded = header.partition(b" ")
        try:
            given = base64.b64decode(coded.strip(), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        expected = f"{self._secrets.backend_user}:{self._secrets.backend_password}".encode()
        return hmac.compare_digest(given, expected) and kind.lower() == b"basic"
