"""Images in every form are answered as the golden images say, in every form."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest

from shared.vision.golden import TOLERANCE, GoldenImage
from tests.endpoint.target import Target, encoded, pixels

PARITY = 1e-4


def expected(image: GoldenImage) -> np.ndarray:
    return np.array(image.probabilities)


def instances(*images: bytes) -> bytes:
    return json.dumps(
        {"instances": [{"b64": base64.b64encode(data).decode()} for data in images]}
    ).encode()


def test_ping_answers_200_without_a_body(target: Target) -> None:
    reply = target.http("GET", "/ping")
    assert (reply.status, reply.body) == (200, b"")


def test_golden_images_are_answered_as_expected(target: Target) -> None:
    for image in target.golden:
        reply = target.ask(image.data)
        (prediction,) = reply.document["predictions"]
        assert list(prediction["probabilities"]) == list(target.classes)
        assert reply.probabilities[0] == pytest.approx(expected(image), abs=TOLERANCE)
        assert prediction["label"] == target.classes[int(np.argmax(image.probabilities))]


def test_an_answer_agrees_with_itself(target: Target) -> None:
    (prediction,) = target.ask(target.golden[0].data).document["predictions"]
    probabilities = np.array(list(prediction["probabilities"].values()))
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert prediction["confidence"] == probabilities.max()
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum()
    assert prediction["entropy"] == pytest.approx(entropy, abs=1e-3)


def test_an_answer_names_request_model_and_drift(target: Target) -> None:
    said = [target.ask(target.golden[0].data).document for _ in range(2)]
    assert said[0]["model_version"] == said[1]["model_version"] != ""
    assert said[0]["request_id"] != said[1]["request_id"] != ""
    assert said[0]["is_drift"] in (True, False, None)


def test_a_request_id_that_is_given_comes_back(target: Target) -> None:
    headers = {"content-type": "application/x-image", "x-amzn-sagemaker-inference-id": "mine-1"}
    reply = target.http("POST", "/invocations", target.golden[0].data, headers)
    assert (reply.document["request_id"], reply.headers["x-request-id"]) == ("mine-1", "mine-1")


def test_every_type_of_the_same_pixels_is_answered_alike(target: Target) -> None:
    array = pixels(target.golden[0])
    png = encoded(array, "PNG")
    answers = {
        "image/png": target.ask(png, "image/png"),
        "image/webp": target.ask(encoded(array, "WEBP", lossless=True), "image/webp"),
        "application/x-image": target.ask(encoded(array, "BMP"), "application/x-image"),
        "application/x-npy": target.ask(encoded(array, "npy"), "application/x-npy"),
        "application/json": target.ask(instances(png), "application/json"),
        "a single instance": target.ask(
            json.dumps({"b64": base64.b64encode(png).decode()}).encode(), "application/json"
        ),
        "parameters": target.ask(png, "Image/PNG; charset=binary"),
    }
    reference = answers["image/png"].probabilities
    for kind, reply in answers.items():
        assert reply.probabilities == pytest.approx(reference, abs=PARITY), kind


def test_a_jpeg_is_answered_alike_by_its_name_and_as_any_image(target: Target) -> None:
    jpeg = encoded(pixels(target.golden[0]), "JPEG", quality=95)
    named, unnamed = target.ask(jpeg, "image/jpeg"), target.ask(jpeg)
    assert named.probabilities == pytest.approx(unnamed.probabilities, abs=PARITY)


@pytest.mark.parametrize("count", [2, 33])
def test_many_images_are_answered_in_their_order(target: Target, count: int) -> None:
    images = [target.golden[n % len(target.golden)] for n in range(count)]
    reply = target.ask(instances(*(image.data for image in images)), "application/json")
    rows = np.array([expected(image) for image in images])
    assert reply.probabilities == pytest.approx(rows, abs=TOLERANCE)


def test_an_array_of_many_images_is_answered_in_its_order(target: Target) -> None:
    array = pixels(target.golden[0])
    stack = np.stack([array, 255 - array, array])
    rows = target.ask(encoded(stack, "npy"), "application/x-npy").probabilities
    single = [target.ask(encoded(one, "PNG"), "image/png").probabilities[0] for one in stack]
    assert rows == pytest.approx(np.array(single), abs=PARITY)


def test_every_accepted_type_says_the_same(target: Target) -> None:
    body = instances(*(image.data for image in target.golden[:2]))
    plain = target.ask(body, "application/json")
    lines = target.ask(body, "application/json", "application/jsonlines")
    array = target.ask(body, "application/json", "application/x-npy")
    assert plain.content_type == "application/json"
    assert lines.content_type == "application/jsonlines"
    assert array.content_type == "application/x-npy"
    rows = [json.loads(line) for line in lines.body.splitlines()]
    assert [row["label"] for row in rows] == [
        prediction["label"] for prediction in plain.document["predictions"]
    ]
    assert {row["request_id"] for row in rows} != {""}
    loaded = np.load(io.BytesIO(array.body))
    assert loaded.dtype == np.float32
    assert loaded == pytest.approx(plain.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/x-npy;q=0.5, application/jsonlines", "application/jsonlines"),
        ("text/csv, application/x-npy;q=0.1", "application/x-npy"),
    ],
)
def test_the_best_liked_type_that_is_offered_is_sent(
    target: Target, accept: str, kind: str
) -> None:
    assert target.ask(target.golden[0].data, accept=accept).content_type == kind


def test_top_k_ranks_the_labels(target: Target) -> None:
    image = target.golden[0]
    reply = target.ask(image.data, attributes="top-k=2")
    (prediction,) = reply.document["predictions"]
    order = np.argsort(-expected(image))[:2]
    assert "probabilities" not in prediction
    assert [entry["label"] for entry in prediction["top"]] == [target.classes[i] for i in order]
    assert [entry["probability"] for entry in prediction["top"]] == pytest.approx(
        expected(image)[order], abs=TOLERANCE
    )


def test_explain_adds_a_map(target: Target) -> None:
    reply = target.ask(target.golden[0].data, attributes="explain=true;top-k=1")
    (prediction,) = reply.document["predictions"]
    assert prediction["explanation"]["method"] == "occlusion"
    found = np.array(prediction["explanation"]["map"])
    assert found.ndim == 2
    assert np.abs(found).max() <= 1
