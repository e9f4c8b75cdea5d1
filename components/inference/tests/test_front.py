"""What clients see, with a model server that is a fake."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from components.inference import front as front_module
from components.inference.batcher import WorkerError
from components.inference.front import Front, FrontSettings
from components.inference.health import Health
from components.inference.records import Record, RequestRecord
from components.inference.thinning import Tally, Thinner
from components.inference.upstream import UpstreamError
from components.inference.wire import Head, Reply

SETTINGS = FrontSettings("local", "AllTraffic", 2, max_payload_bytes=100, timeout_s=1, waiting=2)
RIGHT = Reply(200, "application/json", "", b'{"predictions": []}')


class ModelServer:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self, answer: Reply | Exception = RIGHT) -> None:
        self.answer = answer
        self.asked: list[tuple[Head, bytes]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, head: Head, body: bytes) -> Reply:
        self.asked.append((head, body))
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Records(list[Record]):
    def send(self, record: Record) -> None:
        self.append(record)


@dataclass
class Client:
    """Asks a Front as uvicorn would."""

    server: ModelServer = field(default_factory=ModelServer)
    is_started: bool = True
    ready: int = 2

    def __post_init__(self) -> None:
        async def ready() -> int:
            return self.ready

        async def probe() -> bool:
            return True

        self.records = Records()
        health = Health(ready, probe)
        if self.is_started:
            health.start()
        tally = Tally(self.records, lambda _delay, _callback: None)
        self.front = Front(SETTINGS, self.server, health, self.records, Thinner(1000), tally)  # type: ignore[arg-type]

    async def ask(
        self,
        path: str = "/invocations",
        method: str = "POST",
        body: tuple[bytes, ...] = (b"image",),
        **headers: str,
    ) -> tuple[int, dict[str, str], Any]:
        parts = [
            {"type": "http.request", "body": part, "more_body": number < len(body)}
            for number, part in enumerate(body, 1)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": named}
        await self.front(scope, receive, send)
        start, end = sent
        said = {name.decode(): value.decode() for name, value in start["headers"]}
        assert int(said["content-length"]) == len(end["body"])
        return start["status"], said, json.loads(end["body"]) if end["body"] else None


def ask(client: Client, *arguments: Any, **options: Any) -> tuple[int, dict[str, str], Any]:
    return asyncio.run(client.ask(*arguments, **options))


def test_a_request_reaches_the_model_whole_with_one_header_and_its_answer_comes_back() -> None:
    client = Client()
    status, headers, body = ask(
        client,
        body=(b"first ", b"second"),
        content_type="image/jpeg",
        accept="*/*",
        x_amzn_sagemaker_custom_attributes="top-k=2",
        x_amzn_sagemaker_inference_id="mine",
        cookie="secret",
    )
    ((head, sent),) = client.server.asked
    assert (status, body, headers["x-request-id"]) == (200, {"predictions": []}, "mine")
    assert (sent, head.request_id) == (b"first second", "mine")
    assert (head.content_type, head.accept, head.attributes) == ("image/jpeg", "*/*", "top-k=2")


def test_each_request_is_recorded_with_its_status_and_error() -> None:
    client = Client(ModelServer(Reply(415, "application/json", "UnsupportedMediaType", b"{}")))
    ask(client, content_type="text/plain")
    (record,) = client.records
    assert isinstance(record, RequestRecord)
    assert (record.status, record.error, record.bytes_in) == (415, "UnsupportedMediaType", 5)
    assert (record.content_type, record.request_id != "") == ("text/plain", True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/models"),
        ("DELETE", "/models/model"),
        ("PUT", "/models/model"),
        ("POST", "/models"),
        ("POST", "/predictions/model"),
        ("OPTIONS", "/"),
        ("GET", "/api-description"),
        ("POST", "/ping/../models"),
    ],
)
def test_nothing_else_of_the_model_server_is_reachable(method: str, path: str) -> None:
    client = Client()
    status, _, body = ask(client, path, method)
    assert (status, body["error"]) == (404, "NotFound")
    assert client.server.asked == []


def test_ping_is_200_with_a_worker_and_503_without() -> None:
    assert ask(Client(), "/ping", "GET")[0] == 200
    assert ask(Client(ready=0), "/ping", "GET")[0] == 503
    assert ask(Client(is_started=False), "/ping", "GET")[0] == 503


def test_batch_transform_is_told_how_to_send() -> None:
    status, _, body = ask(Client(), "/execution-parameters", "GET")
    assert status == 200
    assert (body["MaxConcurrentTransforms"], body["BatchStrategy"]) == (2, "SINGLE_RECORD")


def test_too_large_is_refused_before_and_while_it_is_read() -> None:
    client = Client()
    told = ask(client, content_length="101")
    streamed = ask(client, body=(b"x" * 60, b"x" * 60))
    for status, headers, body in (told, streamed):
        assert (status, body["error"], headers["connection"]) == (413, "PayloadTooLarge", "close")
    assert client.server.asked == []


def test_a_wrong_method_and_an_unloaded_model_are_said_so() -> None:
    status, _, body = ask(Client(), "/invocations", "GET")
    assert (status, body["error"]) == (405, "MethodNotAllowed")
    status, _, body = ask(Client(is_started=False))
    assert (status, body["error"]) == (503, "Unavailable")
    assert "loaded" in body["message"]


def test_more_than_may_wait_are_sent_away_and_the_others_answered() -> None:
    async def crowd() -> list[int]:
        client = Client()
        client.server.may_answer.clear()
        waiting = [asyncio.create_task(client.ask()) for _ in range(2)]
        while len(client.server.asked) < 2:
            await asyncio.sleep(0)
        refused, _, _ = await client.ask()
        client.server.may_answer.set()
        return [refused, *(status for status, _, _ in await asyncio.gather(*waiting))]

    assert asyncio.run(crowd()) == [503, 200, 200]


def test_bodies_that_would_fill_the_memory_together_are_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_module, "_MOST_BYTES_INSIDE", 150)

    async def crowd() -> list[int]:
        client = Client()
        client.server.may_answer.clear()
        first = asyncio.create_task(client.ask(body=(b"x" * 90,)))
        while not client.server.asked:
            await asyncio.sleep(0)
        refused, _, _ = await client.ask(body=(b"x" * 90,))
        client.server.may_answer.set()
        answered, _, _ = await first
        assert client.front.bytes_inside == 0
        return [refused, answered, (await client.ask(body=(b"x" * 90,)))[0]]

    assert asyncio.run(crowd()) == [503, 200, 200]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (WorkerError("/opt/x"), 500, "Internal"),
        (UpstreamError("/opt/x"), 503, "Unavailable"),
        (TimeoutError("/opt/x"), 503, "Unavailable"),
    ],
)
def test_what_goes_wrong_inside_is_not_told_outside(
    answer: Exception, status: int, error: str
) -> None:
    said, headers, body = ask(Client(ModelServer(answer)))
    assert (said, body["error"]) == (status, error)
    assert "/opt" not in json.dumps(body)
    assert body["request_id"] == headers["x-request-id"]


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "_BODY_TIMEOUT_S", 5)

    async def waiting() -> int:
        client = Client()
        client.server.may_answer.clear()
        client.front.settings = FrontSettings("local", "v", 1, 100, timeout_s=0.01, waiting=2)
        status, _, _ = await client.ask()
        return status

    assert asyncio.run(waiting()) == 503


def test_the_local_runtime_speaks_as_sagemaker_runtime_does() -> None:
    status, headers, _ = ask(Client(), "/endpoints/local/invocations")
    assert (status, headers["x-amzn-invoked-production-variant"]) == (200, "AllTraffic")
    wrong = Reply(422, "application/json", "UndecodableImage", b'{"error": "UndecodableImage"}')
    status, headers, body = ask(Client(ModelServer(wrong)), "/endpoints/local/invocations")
    assert (status, headers["x-amzn-errortype"]) == (424, "ModelError")
    assert (body["OriginalStatusCode"], body["OriginalMessage"]) == (422, wrong.body.decode())
    status, headers, body = ask(Client(), "/endpoints/other/invocations")
    assert (status, headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert body == {"Message": "Endpoint other not found."}
