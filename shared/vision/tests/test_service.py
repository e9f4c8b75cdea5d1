"""Requests in, responses out: what the endpoint and the Lambda function both answer."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.vision.occlusion import occlusion_map
from shared.vision.payload import MAX_IMAGES
from shared.vision.predictor import Predictor
from shared.vision.service import PredictionService, Request, Work
from shared.vision.tests.factories import COLOURS, Network, colour_image, make_bundle

CLASSES = sorted(COLOURS)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(make_bundle(tmp_path_factory.mktemp("bundle")), threads=1)


@pytest.fixture(scope="module")
def service(predictor: Predictor) -> PredictionService:
    return PredictionService(predictor, "7", is_drift=lambda: True)


def ask(service: PredictionService, body: bytes, kind: str = "image/png", **more: str) -> Work:
    (work,) = service.answer([Request(body, kind, "r-1", **more)])
    return work


def document(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(work.body)
    return found


def pixels_of(*names: str) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.stack([np.full((9, 9, 3), COLOURS[name], np.uint8) for name in names]))
    return stream.getvalue()


def test_an_answer_names_model_request_drift_label_and_every_probability(
    service: PredictionService, predictor: Predictor
) -> None:
    image = colour_image("green", 1)
    work = ask(service, image)
    said = document(work)
    (prediction,) = said.pop("predictions")
    expected = predictor.predict([image]).probabilities[0]
    assert (work.status, work.content_type) == (200, "application/json")
    assert said == {"model_version": "7", "request_id": "r-1", "is_drift": True}
    assert list(prediction["probabilities"]) == CLASSES
    assert list(prediction["probabilities"].values()) == pytest.approx(expected, abs=1e-6)
    assert prediction["label"] == "green"
    assert prediction["confidence"] == pytest.approx(expected.max(), abs=1e-6)
    entropy = -sum(p * math.log(p) for p in map(float, expected) if p > 0)
    assert prediction["entropy"] == pytest.approx(entropy, abs=1e-5)
    assert {"decode", "forward", "encode"} <= set(work.phases_ms)


def test_requests_answered_together_get_their_own_answers(service: PredictionService) -> None:
    names = ["red", "blue", "green", "blue"]
    requests = [Request(colour_image(n, i), "image/png", str(i)) for i, n in enumerate(names)]
    requests.insert(2, Request(b"no image", "image/png", "wrong"))
    requests.insert(0, Request(pixels_of("green", "red"), "application/x-npy", "two"))
    works = service.answer(requests)
    labels = [[p["label"] for p in document(w).get("predictions", [])] for w in works]
    assert labels == [["green", "red"], ["red"], ["blue"], [], ["green"], ["blue"]]
    assert [document(w)["request_id"] for w in works] == ["two", "0", "1", "wrong", "2", "3"]
    assert [w.status for w in works] == [200, 200, 200, 422, 200, 200]


def test_json_lines_and_arrays_say_the_same_as_json(service: PredictionService) -> None:
    body = pixels_of("red", "blue", "blue")
    said = document(ask(service, body, "application/x-npy"))["predictions"]
    lines = ask(service, body, "application/x-npy", accept="application/jsonlines")
    read = [json.loads(line) for line in lines.body.decode().splitlines()]
    assert [{k: line[k] for k in said[0]} for line in read] == said
    assert all(line["model_version"] == "7" for line in read)
    array = ask(service, body, "application/x-npy", accept="application/x-npy")
    matrix = np.load(io.BytesIO(array.body), allow_pickle=False)
    assert matrix.dtype == np.float32
    assert np.allclose(matrix, [list(p["probabilities"].values()) for p in said], atol=1e-6)
    assert (lines.content_type, array.content_type) == (
        "application/jsonlines",
        "application/x-npy",
    )


def test_top_k_ranks_and_leaves_the_rest_out(service: PredictionService) -> None:
    work = ask(service, colour_image("red", 2), attributes="top-k=2")
    (prediction,) = document(work)["predictions"]
    assert "probabilities" not in prediction
    top = prediction["top"]
    assert [entry["label"] for entry in top][:1] == ["red"]
    assert len(top) == 2
    assert top[0]["probability"] >= top[1]["probability"]


def test_explain_points_at_what_the_model_looks_at(tmp_path: Path) -> None:
    seer = Network(sharpness=2.0, region=slice(0, 2))  # sees the upper left corner alone
    predictor = Predictor(make_bundle(tmp_path, network=seer), threads=1)
    work = ask(PredictionService(predictor, "7"), colour_image("red", 3), attributes="explain=true")
    (prediction,) = document(work)["predictions"]
    found = np.array(prediction["explanation"]["map"])
    assert found.shape == (7, 7)
    assert found[0, 0] > 0.01
    assert np.abs(found[3:, 3:]).max() < 1e-6


def test_explain_says_which_part_of_the_image_its_map_is_of(predictor: Predictor) -> None:
    """Whoever draws the map over the image has only the image."""
    service = PredictionService(predictor, "7")
    stream = io.BytesIO()
    Image.new("RGB", (64, 32)).save(stream, format="PNG")
    work = ask(service, stream.getvalue(), attributes="explain=true")
    (prediction,) = document(work)["predictions"]
    spec = predictor.transform
    seen = spec.image_size / spec.resize_side  # of the shorter side
    area = prediction["explanation"]["area"]
    assert area == pytest.approx([(1 - seen / 2) / 2, (1 - seen) / 2, seen / 2, seen], abs=0.02)


def test_the_occlusion_map_covers_the_whole_image(predictor: Predictor) -> None:
    pixels = np.full((32, 32, 3), COLOURS["red"], np.uint8)
    assert (occlusion_map(predictor, pixels, grid=5) > 0).all()


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (Request(b"", "image/png", "r"), 400, "BadRequest"),
        (Request(b"x", "image/png", "r", "text/html"), 406, "NotAcceptable"),
        (Request(b"x", "image/png", "r", "", "nonsense"), 400, "BadRequest"),
        (Request(b"x", "text/plain", "r"), 415, "UnsupportedMediaType"),
        (Request(b"x", "image/png", "r"), 422, "UndecodableImage"),
        (
            Request(pixels_of(*["red"] * 9), "application/x-npy", "r", "", "explain=true"),
            413,
            "PayloadTooLarge",
        ),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    service: PredictionService, request_: Request, status: int, error: str
) -> None:
    (work,) = service.answer([request_])
    said = document(work)
    assert (work.status, said["error"], said["request_id"]) == (status, error, "r")
    assert work.content_type == "application/json"
    assert said["message"]


def test_the_wrong_image_of_many_is_named(service: PredictionService) -> None:
    body = json.dumps({"instances": [{"b64": ""}] * 3}).encode()
    assert "image 1 of 3" in document(ask(service, body, "application/json"))["message"]


def test_a_model_that_fails_says_nothing_of_its_innards(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        name = "broken"
        is_channels_last = False

        def forward(self, _images: object) -> None:
            raise RuntimeError("/opt/secret: tensor exploded")

    service = PredictionService(predictor, "7")
    monkeypatch.setattr(predictor, "engine", Broken())
    work = ask(service, colour_image("red", 4))
    assert (work.status, work.error) == (500, "Internal")
    assert b"secret" not in work.body


def test_the_most_images_allowed_are_answered(service: PredictionService) -> None:
    work = ask(service, pixels_of(*["red"] * MAX_IMAGES), "application/x-npy")
    assert len(document(work)["predictions"]) == MAX_IMAGES
