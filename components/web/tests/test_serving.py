"""The application as a process, and behind an HTTP API's events."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from components.web.app import guarded
from components.web.lambda_handler import Handler
from components.web.tests.house import PNG, House, csrf_in, open_house
from shared.component.tests.lambda_runtime import running

HOST = "127.0.0.1"


def test_it_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "components.web", "--port", "0"]
    environ = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+), login dev", line)
        assert found is not None, line + process.stderr.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/health", timeout=30) as answer:
            assert json.load(answer) == {"status": "ok"}
            assert "server" not in {name.lower() for name in answer.headers}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)


def test_a_port_that_is_taken_is_told_with_the_remedy() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "components.web", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("pass --port, or 0\n")


def event(method: str, path: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
    """Return what an HTTP API sends a function (payload 2.0)."""
    cookies = headers.pop("cookie", "")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "cookies": [cookies] if cookies else [],
        "headers": {"host": HOST, **{n.replace("_", "-"): v for n, v in headers.items()}},
        "requestContext": {
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test",
            },
            "domainName": HOST,
            "requestId": "1",
            "stage": "$default",
            "time": "",
            "timeEpoch": 0,
        },
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def test_lambda_gets_the_pages_of_the_process_that_its_image_starts() -> None:
    told = {
        "VISIONLOOP_LOGIN": "cognito",
        "VISIONLOOP_PUBLIC_URL": "https://pages.example",
        "VISIONLOOP_ISSUER": "https://pool.example",
        "VISIONLOOP_CLIENT_ID": "client",
        "VISIONLOOP_WEB_KEY": "k" * 40,
        "AWS_REGION": "us-east-1",
    }
    with running("web", **told) as function:
        asked = event("GET", "/login")
        asked["headers"]["host"] = "pages.example"
        answer = function.api.invoke(asked)
        assert (answer["statusCode"], "/login/start" in answer["body"]) == (200, True)
        wrong = function.api.invoke(event("GET", "/login"))
        assert wrong["statusCode"] == 400  # another's name


@pytest.fixture(scope="module")
def house() -> House:
    return open_house()


@pytest.fixture
def _loop() -> Iterator[None]:
    """Give Mangum a loop that is closed again; a function's process keeps its own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("_loop")
def test_an_http_api_gets_the_same_pages_and_predictions(house: House) -> None:
    """A whole visit: the login's form and an image arrive as base64, cookies as a list."""
    handler = Handler(guarded(house.app, house.settings))
    first = handler(event("GET", "/login"), None)
    assert first["statusCode"] == 200
    assert "content-security-policy" in first["headers"]
    (cookie,) = [text.partition(";")[0] for text in first["cookies"]]
    form = f"csrf={csrf_in(first['body'])}&role=consumer".encode()
    kind = "application/x-www-form-urlencoded"
    entered = handler(event("POST", "/login", form, cookie=cookie, content_type=kind), None)
    assert entered["statusCode"] == 303, entered
    (cookie,) = [text.partition(";")[0] for text in entered["cookies"]]
    session = json.loads(handler(event("GET", "/api/v1/session", cookie=cookie), None)["body"])
    # The token was made with the session that this answer carries.
    answer = handler(event("GET", "/", cookie=cookie), None)
    (cookie,) = [text.partition(";")[0] for text in answer["cookies"]]
    token = csrf_in(answer["body"])
    assert session["role"] == "consumer"
    request = event(
        "POST",
        "/api/v1/predictions",
        PNG,
        cookie=cookie,
        x_csrf_token=token,
        content_type="image/png",
    )
    said = handler(request, None)
    assert said["statusCode"] == 200, said
    assert json.loads(said["body"])["label"] == "forest"


def test_a_handler_without_an_application_says_how_to_get_one() -> None:
    with pytest.raises(RuntimeError, match="there is no application"):
        Handler()(event("GET", "/"), None)
