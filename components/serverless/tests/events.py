"""Events as API Gateway and function URLs send them; fields that nobody reads left out.

docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
from typing import Any

Event = dict[str, Any]


def rest(
    body: bytes | str | None, kind: str = "", path: str = "/invocations", method: str = "POST"
) -> Event:
    """Return a REST API's event, version 1.0; headers in the client's own letters."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": kind, "Accept": "*/*", "Host": "x"},
        "multiValueHeaders": {"Content-Type": [kind]},
        "queryStringParameters": None,
        "requestContext": {"requestId": "rest-1", "stage": "prod", "path": f"/prod{path}"},
        **_body(body),
    }


def http(
    body: bytes | str | None,
    kind: str = "",
    path: str = "/invocations",
    method: str = "POST",
    stage: str = "$default",
    **headers: str,
) -> Event:
    """Return an HTTP API's or a function URL's event, version 2.0."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": kind, **named},
        "requestContext": {
            "requestId": "http-1",
            "stage": stage,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1"},
        },
        **_body(body),
    }


def _body(body: bytes | str | None) -> Event:
    if isinstance(body, bytes):
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return {"body": body, "isBase64Encoded": False}
