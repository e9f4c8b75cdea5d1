"""What clients see: /ping, /invocations and nothing else of the model server.

    GET  /ping                          200 when workers answer, else 503
    POST /invocations                   the model
    GET  /execution-parameters          what batch transform asks for
    POST /endpoints/NAME/invocations    as sagemaker-runtime spells it, for boto3 at home

multi-model-server answers /ping with 200 before its model is loaded and after its last
worker has died, shows its management beside the model, hands a slow client's bytes on as
they drip, and loses what is in flight when it is told to stop. So this ASGI app stands
before it: whole requests in, whole responses out, a limit to what waits, errors without
innards, and a count of everything.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from components.inference.batcher import Batcher, WorkerError
from components.inference.health import Health
from components.inference.records import RequestRecord
from components.inference.telemetry import RecordSender
from components.inference.thinning import Tally, Thinner
from components.inference.upstream import UpstreamError
from components.inference.wire import Head, Reply
from shared.vision.errors import encode_error

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_BODY_TIMEOUT_S = 60.0  # SageMaker's own limit for an invocation
_MOST_DISCARDED_BYTES = 128 << 20  # more than SageMaker passes on: 100 MB in a batch transform
_DISCARD_S = 10.0
_JSON = "application/json"
_RUNTIME_PREFIX, _RUNTIME_SUFFIX = "/endpoints/", "/invocations"
_MODEL_ERROR = 424  # sagemaker-runtime's status for an error of the model's
_CLOSING = (408, 413, 431)
_TOLD = (b"content-type", b"accept", b"x-amzn-sagemaker-custom-attributes")
_MOST_TOLD_BYTES = 2048  # multi-model-server takes 8192 of headers
_MOST_BYTES_INSIDE = 64 << 20  # of all bodies together; Java holds each once more
_TOO_LARGE = "the body has more than {} bytes"
_TOO_MANY = "too many requests wait; try again"


class _Refused(Exception):  # noqa: N818 - not an error of ours
    """The front answers by itself: status, kind and message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


@dataclass
class _Size:
    """Bytes of one body that have come."""

    total: int = 0


@dataclass(frozen=True)
class FrontSettings:
    """Limits and names of a front.

    waiting: whole requests inside at once; more are told to come back (503).
    timeout_s: for an answer, queueing included.
    """

    endpoint_name: str
    variant_name: str
    workers: int
    max_payload_bytes: int
    timeout_s: float
    waiting: int


@dataclass
class Front:
    """The ASGI application."""

    settings: FrontSettings
    batcher: Batcher
    health: Health
    telemetry: RecordSender
    thinner: Thinner
    tally: Tally
    inside: int = field(default=0, init=False)
    bytes_inside: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")
        method, path = scope["method"], scope["path"]
        if path == "/invocations":
            await self._invoke(scope, receive, send, is_runtime=False)
        elif path == "/ping":
            is_healthy = await self.health.is_healthy()
            await _respond(send, 200 if is_healthy else 503, b"", _JSON)
        elif path == "/execution-parameters" and method == "GET":
            await _respond(send, 200, self._execution_parameters(), _JSON)
        elif path.startswith(_RUNTIME_PREFIX) and path.endswith(_RUNTIME_SUFFIX):
            await self._invoke(scope, receive, send, is_runtime=True)
        else:
            body = encode_error("NotFound", "there is /ping and /invocations", "")
            await _respond(send, 404, body, _JSON)

    def _execution_parameters(self) -> bytes:
        """Return what batch transform plans by: SageMaker's own field names."""
        megabytes = self.settings.max_payload_bytes >> 20
        return json.dumps(
            {
                "MaxConcurrentTransforms": self.settings.workers,
                "BatchStrategy": "SINGLE_RECORD",
                "MaxPayloadInMB": megabytes,
            }
        ).encode()

    async def _invoke(self, scope: Scope, receive: Receive, send: Send, is_runtime: bool) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        head = Head(
            headers.get(b"x-amzn-sagemaker-inference-id", "")[:64] or uuid.uuid4().hex,
            time.monotonic_ns(),
            headers.get(b"content-type", ""),
            headers.get(b"accept", ""),
            headers.get(b"x-amzn-sagemaker-custom-attributes", ""),
        )
        size, error = _Size(), ""
        try:
            self._admit(scope, headers, is_runtime)
            body = await self._read(receive, size)
            reply = await self._ask(head, body)
            status, error = reply.status, reply.error
            content_type, body = reply.content_type, reply.body
        except _Refused as err:
            status, error, content_type = err.status, err.kind, _JSON
            if status == 413 and b"expect" not in headers:  # who expects to be told has not sent
                await _discard(receive)
            body = encode_error(err.kind, str(err), head.request_id)
        finally:
            self.bytes_inside -= size.total
        extra = [(b"x-request-id", head.request_id.encode("latin-1"))]
        served = status
        if is_runtime:
            served, body, more = self._as_runtime(status, error, body)
            extra += more
        await _respond(send, served, body, content_type, extra)
        self._report(head, status, error, size.total)

    def _report(self, head: Head, status: int, error: str, bytes_in: int) -> None:
        if not self.thinner.is_chosen():
            names = {"ErrorKind": error} if error else {}
            self.tally.count(StatusClass=f"{status // 100}xx", **names)
            return
        self.telemetry.send(
            RequestRecord(
                time=time.time(),
                request_id=head.request_id,
                status=status,
                error=error,
                total_ms=(time.monotonic_ns() - head.received_ns) / 1e6,
                bytes_in=bytes_in,
                content_type=head.content_type[:64],
            )
        )

    def _admit(self, scope: Scope, headers: dict[bytes, str], is_runtime: bool) -> None:
        if scope["method"] != "POST":
            raise _Refused(405, "MethodNotAllowed", "send a POST")
        limit = self.settings.max_payload_bytes
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > limit:
            raise _Refused(413, "PayloadTooLarge", _TOO_LARGE.format(limit))
        if sum(len(headers.get(name, "")) for name in _TOLD) > _MOST_TOLD_BYTES:
            raise _Refused(431, "HeadersTooLarge", f"at most {_MOST_TOLD_BYTES} bytes of headers")
        name = scope["path"][len(_RUNTIME_PREFIX) : -len(_RUNTIME_SUFFIX)]
        if is_runtime and name != self.settings.endpoint_name:
            raise _Refused(400, "ValidationError", f"Endpoint {name} not found.")

    async def _read(self, receive: Receive, size: _Size) -> bytes:
        parts, limit = [], self.settings.max_payload_bytes
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refused(400, "Disconnected", "the client went away")
                    parts.append(message.get("body", b""))
                    size.total += len(parts[-1])
                    self.bytes_inside += len(parts[-1])
                    if size.total > limit:
                        raise _Refused(413, "PayloadTooLarge", _TOO_LARGE.format(limit))
                    if self.bytes_inside > max(_MOST_BYTES_INSIDE, limit):
                        raise _Refused(503, "Unavailable", "too much waits; try again")
                    if not message.get("more_body"):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError as err:
            raise _Refused(408, "Timeout", "the body did not arrive in time") from err

    async def _ask(self, head: Head, body: bytes) -> Reply:
        """Return the workers' answer; what multi-model-server says itself is not passed on."""
        if not self.health.has_started:
            raise _Refused(503, "Unavailable", "the model is being loaded; try again")
        if self.inside >= self.settings.waiting:
            raise _Refused(503, "Unavailable", _TOO_MANY)
        self.inside += 1  # here: a client that is slow to send its request holds up nobody
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                reply = await self.batcher.ask(head, body)
        except TimeoutError as err:
            raise _Refused(503, "Unavailable", "no answer in time; try again") from err
        except UpstreamError as err:
            raise _Refused(503, "Unavailable", "the model server is down; try again") from err
        except WorkerError as err:
            text = "the model failed; the request id is in the log"
            raise _Refused(500, "Internal", text) from err
        finally:
            self.inside -= 1
        self.health.note_answer()
        return reply

    def _as_runtime(
        self, status: int, error: str, body: bytes
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return status, body and headers as sagemaker-runtime's InvokeEndpoint has them."""
        variant = (b"x-amzn-invoked-production-variant", self.settings.variant_name.encode())
        if status < 400:
            return status, body, [variant]
        if error == "ValidationError":
            message = {"Message": json.loads(body)["message"]}
            return 400, json.dumps(message).encode(), [(b"x-amzn-errortype", b"ValidationError")]
        message = {
            "Message": f"Received client error ({status}) from the model",
            "OriginalStatusCode": status,
            "OriginalMessage": body.decode(errors="replace"),
        }
        return _MODEL_ERROR, json.dumps(message).encode(), [(b"x-amzn-errortype", b"ModelError")]


async def _discard(receive: Receive) -> None:
    """Take the rest of a body: the system would tear down a connection closed on it.

    The client, still sending, would then see a broken connection in place of the answer.
    """
    left = _MOST_DISCARDED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            while left > 0:
                message = await receive()
                if not message.get("more_body"):  # the end, or the client is gone
                    return
                left -= len(message["body"])


async def _respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: str,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
        *(extra or ()),
    ]
    if status in _CLOSING:
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
