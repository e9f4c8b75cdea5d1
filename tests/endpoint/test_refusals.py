"""What a client does wrong is said in its words, and nothing is said of what is inside."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest

from tests.endpoint.target import Reply, Target, encoded, pixels

IMAGE = "application/x-image"
JSON = "application/json"
NPY = "application/x-npy"


def check(reply: Reply, status: int, kind: str) -> None:
    """Hold an error to its shape."""
    assert (reply.status, reply.document["error"]) == (status, kind), reply.body
    assert reply.content_type == JSON
    assert set(reply.document) == {"error", "message", "request_id"}
    assert reply.document["message"]
    for inside in (b"Traceback", b"/opt/", b"site-packages", b".py", b"/tmp"):
        assert inside not in reply.body


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"no image at all", IMAGE, 422, "UndecodableImage"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", 422, "UndecodableImage"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "image/jpeg", 422, "UndecodableImage"),
        (b"", IMAGE, 400, "BadRequest"),
        (b"{", JSON, 400, "BadRequest"),
        (b"[" * 100_000, JSON, 400, "BadRequest"),
        (b'{"instances": []}', JSON, 400, "BadRequest"),
        (b'{"instances": [{"url": "http://x"}]}', JSON, 400, "BadRequest"),
        (b'{"instances": [{"b64": "***"}]}', JSON, 400, "BadRequest"),
        (b'{"instances": [{"s3_uri": "s3://no-such-bucket/a.png"}]}', JSON, 403, "Forbidden"),
        (json.dumps({"instances": [{"b64": ""}] * 1000}).encode(), JSON, 413, "PayloadTooLarge"),
        (pickled(), NPY, 400, "BadRequest"),
        (encoded(np.zeros((4, 4), np.uint8), "npy"), NPY, 400, "BadRequest"),
        (encoded(np.zeros((1, 4, 4, 3)), "npy"), NPY, 400, "BadRequest"),
        (b"a,b", "text/csv", 415, "UnsupportedMediaType"),
        (b"a", "image/svg+xml", 415, "UnsupportedMediaType"),
    ],
    ids=lambda value: repr(value)[:24] if isinstance(value, bytes) else None,
)
def test_a_wrong_body_is_refused(
    target: Target, body: bytes, content_type: str, status: int, kind: str
) -> None:
    check(target.ask(body, content_type), status, kind)


def test_a_truncated_image_is_refused(target: Target) -> None:
    whole = encoded(pixels(target.golden[0]), "JPEG")
    check(target.ask(whole[: len(whole) // 2], "image/jpeg"), 422, "UndecodableImage")


def test_one_wrong_image_of_many_is_named(target: Target) -> None:
    good = base64.b64encode(target.golden[0].data).decode()
    body = json.dumps({"instances": [{"b64": good}, {"b64": "AAAA"}]}).encode()
    reply = target.ask(body, JSON)
    check(reply, 422, "UndecodableImage")
    assert "image 2 of 2" in reply.document["message"]


def test_types_that_are_not_offered_are_refused(target: Target) -> None:
    check(target.ask(target.golden[0].data, accept="text/html"), 406, "NotAcceptable")


@pytest.mark.parametrize("attributes", ["top-k=0", "top-k=many", "explain=maybe", "colour=red"])
def test_an_unknown_option_is_refused(target: Target, attributes: str) -> None:
    check(target.ask(target.golden[0].data, attributes=attributes), 400, "BadRequest")


def test_a_missing_content_type_is_refused(target: Target) -> None:
    reply = target.http("POST", "/invocations", target.golden[0].data)
    check(reply, 415, "UnsupportedMediaType")


def test_a_body_over_the_limit_is_refused(target: Target) -> None:
    limit = target.http("GET", "/execution-parameters").document["MaxPayloadInMB"] << 20
    headers = {"content-type": IMAGE}
    check(target.http("POST", "/invocations", bytes(limit + 1), headers), 413, "PayloadTooLarge")
    check(target.http("POST", "/invocations", bytes(limit), headers), 422, "UndecodableImage")
    check(target.ask(bytes(limit + 1)), 413, "PayloadTooLarge")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/models"),
        ("POST", "/models?url=model.mar"),
        ("GET", "/models/model"),
        ("PUT", "/models/model?min_worker=0"),
        ("DELETE", "/models/model"),
        ("POST", "/models/model/invoke"),
        ("POST", "/predictions/model"),
        ("GET", "/api-description"),
        ("OPTIONS", "/"),
        ("GET", "/metrics"),
        ("POST", "/execution-parameters"),
        ("POST", "/invocations/"),
        ("GET", "/ping/../models"),
        ("GET", "/%6dodels"),
    ],
)
def test_nothing_but_the_contract_is_served(target: Target, method: str, path: str) -> None:
    check(target.http(method, path), 404, "NotFound")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_model_is_asked_by_post(target: Target, method: str) -> None:
    check(target.http(method, "/invocations"), 405, "MethodNotAllowed")


def test_after_every_refusal_it_answers_as_before(target: Target) -> None:
    for body in (b"no image", b"", b"\x93NUMPY"):
        target.ask(body, IMAGE)
    assert target.ask(target.golden[0].data).status == 200
