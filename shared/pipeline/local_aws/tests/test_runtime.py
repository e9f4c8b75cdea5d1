"""Invocations: handed on whole, counted while they last, refused as AWS refuses."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.pipeline.local_aws.serving import Serving
from shared.pipeline.local_aws.tests.conftest import Place, wait_until

_TIME = "2030-01-02T03:04:05.678+00:00"


@dataclass
class Upstream:
    """A process that answers when it may, and remembers what it was asked."""

    url: str = ""
    may_answer: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def upstream(place: Place) -> Iterator[Upstream]:
    """An endpoint "e" that serves."""
    found = Upstream()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): text for name, text in self.headers.items()}
            found.asked.append((self.path, headers, body))
            found.may_answer.wait(20)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    Serving("e", "InService", _TIME, _TIME).save(place.home)
    place.route.switch(found.url)
    yield found
    found.may_answer.set()
    server.shutdown()
    server.server_close()
    thread.join()


def _invoke(place: Place, body: bytes = b"image", **more: str) -> Any:
    return place.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=body, **more)


def test_a_request_is_handed_on_with_all_but_its_signature(
    place: Place, upstream: Upstream
) -> None:
    upstream.may_answer.set()
    body = bytes(range(256)) * (5 << 12)
    _invoke(place, body, ContentType="image/jpeg", CustomAttributes="explain=true")
    ((path, headers, got),) = upstream.asked
    assert (path, got) == ("/endpoints/e/invocations", body)
    assert headers["x-amzn-sagemaker-custom-attributes"] == "explain=true"
    assert headers["content-type"] == "image/jpeg"
    assert "authorization" not in headers


def test_who_has_lost_the_traffic_still_owes_its_answers(place: Place, upstream: Upstream) -> None:
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(_invoke(place)["Body"].read()))
    thread.start()
    wait_until(lambda: bool(upstream.asked))
    place.route.switch("")
    assert place.route.in_flight(upstream.url) == 1
    upstream.may_answer.set()
    thread.join()
    assert answers == [b"{}"]
    wait_until(lambda: place.route.in_flight(upstream.url) == 0)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1"])
def test_while_nothing_answers_callers_are_told_to_come_back(
    place: Place, upstream: Upstream, url: str
) -> None:
    place.route.switch(url)
    with pytest.raises(ClientError) as refused:
        _invoke(place)
    said = refused.value.response
    assert said["Error"]["Code"] == "ServiceUnavailable"
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert said["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"
    assert place.route.in_flight(url) == 0


def test_a_process_that_dies_over_an_answer_is_no_answer(place: Place, upstream: Upstream) -> None:
    """Half a body would look like a whole one to some clients."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        place.route.switch(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def die() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

        thread = threading.Thread(target=die)
        thread.start()
        with pytest.raises(ClientError, match="starting; try again"):
            _invoke(place)
        thread.join()
