"""Events in, responses out, by the same service as the endpoint's.

API Gateway REST ("1.0") and HTTP API ("2.0"), function URL
    GET /ping                      200: whoever runs this has proven the model
    POST / and POST /invocations   the model
lambda invoke with {"instances": [...]}
    the response's document itself; an error has its HTTP status beside it in `status`
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.vision.errors import encode_error
from shared.vision.payload import ARRAY_TYPE, JSON_TYPE
from shared.vision.service import PredictionService, Request

Event = Mapping[str, Any]
# Lambda's limit of a synchronous response, its envelope included; past it the client would
# get a 502 that says nothing. docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_RESPONSE_BYTES = 6 * 1024 * 1024
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_MODEL_PATHS = ("/", "/invocations")


@dataclass(frozen=True)
class _Call:
    """What an event of a gateway asks, whichever version it is of."""

    method: str
    path: str
    request_id: str
    headers: dict[str, str]


@dataclass(frozen=True)
class _Reply:
    """An HTTP response before its envelope."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE


@dataclass
class Handler:
    """What awslambdaric calls; `service` is set before the first event."""

    service: PredictionService | None = field(default=None)
    max_response_bytes: int = MAX_RESPONSE_BYTES

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event; none raises for what a client did.

        context: awslambdaric's, or None where there is no Lambda.
        """
        fallback = str(getattr(context, "aws_request_id", "") or uuid.uuid4().hex)
        call = _read_call(event, fallback)
        if call is None:
            return self._fit_document(self._invoke_directly(event, fallback), fallback)
        return self._fit_response(self._route(call, event), call.request_id)

    def _route(self, call: _Call, event: Event) -> _Reply:
        if call.path == "/ping":
            return _Reply(200, b"")
        if call.path not in _MODEL_PATHS:
            return _error(404, "NotFound", "there is /ping and /invocations", call.request_id)
        if call.method != "POST":
            return _error(405, "MethodNotAllowed", "send a POST", call.request_id)
        try:
            body = _read_body(event)
        except (binascii.Error, ValueError):  # also: lone surrogates
            message = "the event's body is not what isBase64Encoded says"
            return _error(400, "BadRequest", message, call.request_id)
        headers = call.headers
        return self._ask(
            Request(
                body,
                headers.get("content-type", ""),
                call.request_id,
                headers.get("accept", ""),
                headers.get(_ATTRIBUTES, ""),
            )
        )

    def _invoke_directly(self, event: Any, request_id: str) -> dict[str, Any]:
        attributes = event.get("custom_attributes", "") if isinstance(event, dict) else ""
        body = json.dumps(event).encode()
        reply = self._ask(Request(body, JSON_TYPE, request_id, JSON_TYPE, str(attributes)))
        return _document(reply)

    def _ask(self, request: Request) -> _Reply:
        if self.service is None:
            raise RuntimeError(
                "serverless: no model is loaded; start python -m components.serverless"
            )
        (work,) = self.service.answer([request])
        return _Reply(work.status, work.body, work.content_type)

    def _fit_response(self, reply: _Reply, request_id: str) -> dict[str, Any]:
        response = _envelope(reply, request_id)
        if self._is_too_large(response):
            return _envelope(self._too_large(request_id), request_id)
        return response

    def _fit_document(self, document: dict[str, Any], request_id: str) -> dict[str, Any]:
        return _document(self._too_large(request_id)) if self._is_too_large(document) else document

    def _is_too_large(self, response: dict[str, Any]) -> bool:
        return len(json.dumps(response)) > self.max_response_bytes

    def _too_large(self, request_id: str) -> _Reply:
        message = (
            f"the response has more than {self.max_response_bytes} bytes; "
            "ask for top-k, or send fewer images"
        )
        return _error(413, "PayloadTooLarge", message, request_id)


HANDLER = Handler()


def _read_call(event: Any, fallback_id: str) -> _Call | None:
    """Return what a gateway's event asks; None where it is no gateway's."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not isinstance(context, dict):
        return None
    if isinstance(context.get("http"), dict):  # payload version 2.0
        method, path = context["http"].get("method"), event.get("rawPath") or ""
        path = _without_stage(str(path), str(context.get("stage")))
    else:
        method, path = event.get("httpMethod"), str(event.get("path") or "")
    headers = event.get("headers")
    given = headers.items() if isinstance(headers, dict) else ()
    return _Call(
        str(method),
        "/" + path.strip("/"),
        str(context.get("requestId") or fallback_id),
        {name.lower(): str(value) for name, value in given},
    )


def _read_body(event: Event) -> bytes:
    text = str(event.get("body") or "")
    return base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()


def _without_stage(path: str, stage: str) -> str:
    """Take off the stage, which an HTTP API leaves in the path unless it is $default."""
    is_staged = path == f"/{stage}" or path.startswith(f"/{stage}/")
    return path.removeprefix(f"/{stage}") if is_staged else path


def _envelope(reply: _Reply, request_id: str) -> dict[str, Any]:
    is_binary = reply.content_type == ARRAY_TYPE
    return {
        "statusCode": reply.status,
        "headers": {"content-type": reply.content_type, "x-request-id": request_id},
        "body": base64.b64encode(reply.body).decode() if is_binary else reply.body.decode(),
        "isBase64Encoded": is_binary,
    }


def _document(reply: _Reply) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(reply.body)
    return document if reply.status == 200 else {**document, "status": reply.status}


def _error(status: int, kind: str, message: str, request_id: str) -> _Reply:
    return _Reply(status, encode_error(kind, message, request_id))
