"""What every response says to the browser, and the id by which a request is found in the log."""

from __future__ import annotations

import time
import uuid

from shared.component.body_limit import App, Message, Receive, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'{}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
}
_YEAR_S = 31_536_000


class Headers:
    """ASGI middleware; what a route sets itself stays.

    connects: a further origin that scripts may send to.
    """

    def __init__(self, app: App, is_secure: bool, connects: str = "") -> None:
        self._app = app
        self._always = dict(_ALWAYS)
        self._always["content-security-policy"] = POLICY.format(connects and f" {connects}")
        if is_secure:
            self._always["strict-transport-security"] = f"max-age={_YEAR_S}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                total_ms = 1e3 * (time.perf_counter() - started)
                own = self._always | {
                    "cache-control": "no-store",
                    "x-request-id": request_id,
                }
                given = list(message["headers"])
                names = {name.lower() for name, _ in given}
                given += [
                    (name.encode(), value.encode())
                    for name, value in own.items()
                    if name.encode() not in names
                ]
                given.append((b"server-timing", b"total;dur=%.2f" % total_ms))
                message = {**message, "headers": given}
            await send(message)

        await self._app(scope, receive, tell)
