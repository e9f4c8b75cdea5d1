"""Every kind of event gets the answer that the endpoint gives to the same request."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from components.serverless.component import load
from components.serverless.handler import Handler
from components.serverless.tests.events import Event, http, rest
from shared.vision.service import PredictionService, Request
from shared.vision.tests.factories import colour_image
from shared.vision.tests.served import make_served_bundle

IMAGE = colour_image("green", 3)
B64 = base64.b64encode(IMAGE).decode()


@dataclass(frozen=True)
class Context:
    """The part of awslambdaric's context that is read."""

    aws_request_id: str = "lambda-1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> PredictionService:
    bundle = make_served_bundle(tmp_path_factory.mktemp("bundle"))
    return load(bundle.folder, "", "auto", "7", "")


@pytest.fixture
def handler(service: PredictionService) -> Handler:
    return Handler(service)


def ask(handler: Handler, event: Any) -> tuple[int, Any]:
    response = handler(event, Context())
    assert response["isBase64Encoded"] is False
    return response["statusCode"], json.loads(response["body"])


def answered(service: PredictionService, request_id: str, **more: str) -> Any:
    (work,) = service.answer([Request(IMAGE, "image/png", request_id, **more)])
    return json.loads(work.body)


@pytest.mark.parametrize(("make", "request_id"), [(rest, "rest-1"), (http, "http-1")])
def test_an_image_from_a_gateway_is_answered_as_the_endpoint_answers_it(
    handler: Handler, service: PredictionService, make: Callable[..., Event], request_id: str
) -> None:
    response = handler(make(IMAGE, "image/png"), Context())
    assert response["statusCode"] == 200
    assert response["headers"] == {
        "content-type": "application/json",
        "x-request-id": request_id,
    }
    document = json.loads(response["body"])
    assert document == answered(service, request_id)
    assert document["predictions"][0]["label"] == "green"


def test_json_travels_as_text(handler: Handler) -> None:
    status, document = ask(
        handler, rest(json.dumps({"instances": [{"b64": B64}] * 2}), "application/json")
    )
    assert status == 200
    assert [p["label"] for p in document["predictions"]] == ["green", "green"]


def test_options_and_accept_are_read_whatever_the_letters_of_the_headers(handler: Handler) -> None:
    event = rest(IMAGE, "image/png")
    event["headers"] |= {
        "ACCEPT": "application/jsonlines",
        "X-Amzn-SageMaker-Custom-Attributes": "top-k=1;explain=true",
    }
    del event["headers"]["Accept"]
    response = handler(event, Context())
    assert response["headers"]["content-type"] == "application/jsonlines"
    (line,) = response["body"].splitlines()
    assert [entry["label"] for entry in json.loads(line)["top"]] == ["green"]
    assert json.loads(line)["explanation"]["method"] == "occlusion"


def test_an_array_goes_back_as_base64(handler: Handler, service: PredictionService) -> None:
    response = handler(http(IMAGE, "image/png", accept="application/x-npy"), Context())
    assert response["isBase64Encoded"] is True
    array = np.load(io.BytesIO(base64.b64decode(response["body"])))
    said = answered(service, "x")["predictions"][0]["probabilities"]
    assert array[0] == pytest.approx(list(said.values()), abs=1e-6)


def test_an_array_comes_in_as_base64(handler: Handler) -> None:
    stream = io.BytesIO()
    np.save(stream, np.full((2, 9, 9, 3), (40, 60, 200), np.uint8))
    status, document = ask(handler, http(stream.getvalue(), "application/x-npy"))
    assert (status, len(document["predictions"])) == (200, 2)


@pytest.mark.parametrize("path", ["/", "", "/invocations", "/prod", "/prod/invocations"])
def test_the_model_is_at_the_root_and_at_invocations_below_any_stage(
    handler: Handler, path: str
) -> None:
    assert ask(handler, http(IMAGE, "image/png", path, stage="prod"))[0] == 200


@pytest.mark.parametrize(
    "event",
    [
        rest(None, path="/ping", method="GET"),
        http(None, path="/ping", method="GET"),
        http(None, path="/prod/ping", method="GET", stage="prod"),
    ],
)
def test_ping_answers_200(handler: Handler, event: Event) -> None:
    response = handler(event, Context())
    assert (response["statusCode"], response["body"]) == (200, "")


@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        (http(b"no image", "image/png"), 422, "UndecodableImage"),
        (http(b"{", "application/json"), 400, "BadRequest"),
        (http(None, "image/png"), 400, "BadRequest"),
        (http(IMAGE, ""), 415, "UnsupportedMediaType"),
        (http(IMAGE, "image/png", accept="text/html"), 406, "NotAcceptable"),
        (
            http(json.dumps({"s3_uri": "s3://other/a.png"}), "application/json"),
            403,
            "Forbidden",
        ),
        (http(IMAGE, "image/png", path="/models"), 404, "NotFound"),
        (rest(IMAGE, "image/png", path="/production"), 404, "NotFound"),
        (http(None, path="/invocations", method="GET"), 405, "MethodNotAllowed"),
        (http(IMAGE, "image/png") | {"body": "=no base64="}, 400, "BadRequest"),
        (http(IMAGE, "image/png") | {"body": ["no text"]}, 400, "BadRequest"),
        (http(IMAGE, "image/png") | {"headers": None}, 415, "UnsupportedMediaType"),
        (http("\ud800", "image/png"), 400, "BadRequest"),
        ({"requestContext": {}}, 405, "MethodNotAllowed"),
        ({"requestContext": {"http": {}}}, 405, "MethodNotAllowed"),
        ({"requestContext": {"http": 1}, "path": 2}, 404, "NotFound"),
    ],
)
def test_errors_are_the_endpoints_own(
    handler: Handler, event: Event, status: int, kind: str
) -> None:
    given, document = ask(handler, event)
    assert (given, document["error"]) == (status, kind)
    assert set(document) == {"error", "message", "request_id"}
    assert document["request_id"] == event["requestContext"].get("requestId", "lambda-1")


def test_a_direct_invocation_returns_the_document_itself(
    handler: Handler, service: PredictionService
) -> None:
    assert handler({"instances": [{"b64": B64}]}, Context()) == answered(service, "lambda-1")


def test_a_direct_invocation_has_options(handler: Handler) -> None:
    event = {"instances": [{"b64": B64}], "custom_attributes": "top-k=2"}
    assert len(handler(event, Context())["predictions"][0]["top"]) == 2


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"instances": [{"b64": "AAAA"}]}, 422),
        ({"Records": []}, 400),
        ([], 400),
        (None, 400),
        ("hello", 400),
        ({"instances": [], "custom_attributes": 3}, 400),
    ],
)
def test_a_direct_invocation_that_fails_says_its_status(
    handler: Handler, event: Any, status: int
) -> None:
    document = handler(event, Context())
    assert set(document) == {"error", "message", "request_id", "status"}
    assert document["status"] == status


def test_a_response_over_lambdas_limit_is_413(service: PredictionService) -> None:
    small = replace(Handler(service), max_response_bytes=100)
    for event in (http(IMAGE, "image/png"), {"instances": [{"b64": B64}]}):
        response = small(event, Context())
        said = json.loads(response["body"]) if "body" in response else response
        assert said["error"] == "PayloadTooLarge"
        assert response.get("statusCode", response.get("status")) == 413
    assert len(json.dumps(Handler(service)(http(IMAGE, "image/png"), Context()))) > 100


def test_a_handler_without_a_model_says_how_to_get_one() -> None:
    with pytest.raises(RuntimeError, match=r"python -m components\.serverless"):
        Handler()({"instances": []}, Context())
