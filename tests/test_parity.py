"""Every road to the model gives the same probabilities for the same raw file.

The network is a random mobilenetv3 made sensitive, so that pixels that differ show.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ci.endpoint import LOCAL_NAME, Endpoint
from ci.served import ours, running
from components.serverless.component import load
from components.serverless.handler import Handler
from components.train.export import export
from components.train.network import build, transform_spec
from shared.vision.bundle import Bundle, BundleInfo, write_bundle
from shared.vision.dataset import (
    Dataset,
    DatasetInfo,
    Sample,
    fingerprint,
    shard_name,
    write_info,
    write_shard,
)
from shared.vision.images import decode_rgb
from shared.vision.predictor import Predictor
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import decode_pixels, normalise, prepare_pixels
from tests.raw_files import picture, raw_files, twelve_megapixels

pytestmark = pytest.mark.slow
PARITY = 1e-4
SIZE = 64
CLASSES = ("a", "b", "c", "d", "e")
ENGINES = ("onnx", "torchscript")
FILES = raw_files()
# An array has no scaled decoding: alike only where a file is not scaled.
ARRAYS = [name for name, data in FILES.items() if not data.startswith(b"\xff\xd8")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(3)
    network = build("mobilenetv3_small_050", len(CLASSES), SIZE, "none")
    spec = transform_spec(network, SIZE)
    drawn = [np.asarray(picture(SIZE, SIZE, 100 + seed)) for seed in range(64)]
    images = torch.from_numpy(normalise(np.stack(drawn), spec))
    _sensitise(network, images)
    made = export(network, images[:8], folder)
    info = BundleInfo(
        classes=CLASSES,
        transform=spec,
        model_name="mobilenetv3_small_050",
        embedding_size=made.embedding_size,
        parity=made.parity,
        onnx_parity=made.onnx_parity,
        dataset_fingerprint="",
        test_fingerprint="",
        code_version="test",
        temperature=1.5,
    )
    return write_bundle(folder, info)


@torch.no_grad()
def _sensitise(network: Any, images: torch.Tensor) -> None:
    """Let normalisation see real activations, and spread the logits as training would."""
    network.train()
    for _ in range(60):
        network(images)
    network.eval()
    logits, _ = network(images)
    head = network.body.get_classifier()
    head.bias -= logits.mean(dim=0)
    head.weight *= 3 / logits.std()
    head.bias *= 3 / logits.std()


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> dict[str, np.ndarray]:
    """Answers of TorchScript in this process, one file at a time."""
    predictor = Predictor(bundle)
    return {name: predictor.predict([data]).probabilities[0] for name, data in FILES.items()}


def check(given: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    assert given
    differences = {name: np.abs(row - reference[name]).max() for name, row in given.items()}
    wrong = {name: float(value) for name, value in differences.items() if not value <= PARITY}
    assert wrong == {}


def test_the_network_notices_pixels_that_differ(
    bundle: Bundle, reference: dict[str, np.ndarray]
) -> None:
    predictor, spec = Predictor(bundle), bundle.info.transform
    rows = np.stack(list(reference.values()))
    gaps = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert gaps.min() > 1e-3, "two files have the same answer"
    for name, data in FILES.items():
        pixels = decode_pixels(data, spec)
        mistakes = {"turned": np.rot90(pixels), "shifted": np.roll(pixels, 1, axis=1)}
        if not name.startswith(("grey", "16-bit-grey")):
            mistakes["BGR"] = pixels[..., ::-1]
        for mistake, wrong in mistakes.items():
            said = predictor.predict_pixels(wrong[None]).probabilities[0]
            assert np.abs(said - reference[name]).max() > 10 * PARITY, (name, mistake)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_frozen", [False, True])
def test_predictors_agree_for_one_and_for_many(
    bundle: Bundle, reference: dict[str, np.ndarray], engine: str, is_frozen: bool
) -> None:
    predictor = Predictor(bundle, engine=engine, threads=1, is_frozen=is_frozen)
    assert predictor.engine.name == engine
    single = {name: predictor.predict([data]).probabilities[0] for name, data in FILES.items()}
    check(single, reference)
    many = predictor.predict(list(FILES.values())).probabilities
    check(dict(zip(FILES, many, strict=True)), reference)


def test_what_evaluate_reads_and_predicts_agrees(
    bundle: Bundle, reference: dict[str, np.ndarray], tmp_path: Path
) -> None:
    samples = [
        Sample(data, name.split(".")[1], CLASSES[0], name, "raw", hashlib.sha256(data).hexdigest())
        for name, data in FILES.items()
    ]
    write_shard(tmp_path, shard_name("test", 0), samples)
    identity = fingerprint(("test", CLASSES[0], sample.sha256) for sample in samples)
    counts = {"test": {CLASSES[0]: len(samples)}}
    shards = {"test": [f"{shard_name('test', 0)}.tar"]}
    write_info(tmp_path, DatasetInfo(list(CLASSES), counts, shards, identity, identity))
    # As components/evaluate does it.
    split = Dataset.open(tmp_path).split("test")
    said = Predictor(bundle).predict_all(split.read, len(split)).probabilities
    check(dict(zip(FILES, said, strict=True)), reference)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_lambda_handler_agrees(
    bundle: Bundle, reference: dict[str, np.ndarray], engine: str
) -> None:
    handler = Handler(load(bundle.folder, "", engine, "1", ""))
    given = {}
    for name, data in FILES.items():
        event = {
            "version": "2.0",
            "rawPath": "/invocations",
            "headers": {"content-type": "application/x-image"},
            "requestContext": {"http": {"method": "POST"}, "requestId": "1"},
            "body": base64.b64encode(data).decode(),
            "isBase64Encoded": True,
        }
        given[name] = _row(json.loads(handler(event, None)["body"]))
    check(given, reference)


@pytest.fixture(scope="module", params=ENGINES)
def client(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Any]:
    """boto3's client of a running endpoint with one of the engines."""
    flags = ("--engine", request.param, "--workers", "2", "--telemetry", "false")
    with running(ours(bundle.folder, request.param, *flags), FILES["plain.jpeg"]) as started:
        yield Endpoint.at(f"http://127.0.0.1:{started.port}").client


def test_the_endpoint_agrees_for_files(client: Any, reference: dict[str, np.ndarray]) -> None:
    kinds = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
    for choose in (kinds, {}):
        given = {
            name: _row(_ask(client, data, choose.get(name.split(".")[1], "application/x-image")))
            for name, data in FILES.items()
        }
        check(given, reference)


def test_the_endpoint_agrees_for_json(client: Any, reference: dict[str, np.ndarray]) -> None:
    names = [name for name in FILES if name != "12-megapixel.jpeg"]
    for group in (names, ["12-megapixel.jpeg"]):  # together more than a request may have
        instances = [{"b64": base64.b64encode(FILES[name]).decode()} for name in group]
        document = _ask(client, json.dumps({"instances": instances}).encode(), "application/json")
        check(
            {name: _row(document, number) for number, name in enumerate(group)},
            reference,
        )


def test_the_endpoint_agrees_for_arrays(client: Any, reference: dict[str, np.ndarray]) -> None:
    given = {}
    for name in ARRAYS:
        stream = io.BytesIO()
        np.save(stream, np.asarray(decode_rgb(FILES[name])))
        given[name] = _row(_ask(client, stream.getvalue(), "application/x-npy"))
    check(given, reference)


@pytest.mark.parametrize("seed", [12, 21, 22, 23])
def test_scaled_decoding_of_a_large_jpeg_changes_little(bundle: Bundle, seed: int) -> None:
    """libjpeg's scaled decoding averages blocks; the resizer would have averaged pixels."""
    data, spec, predictor = twelve_megapixels(seed), bundle.info.transform, Predictor(bundle)
    scaled, full = decode_pixels(data, spec), prepare_pixels(decode_rgb(data), spec)
    said, exact = predictor.predict_pixels(np.stack([scaled, full])).probabilities
    difference = float(np.abs(said - exact).max())
    levels = float(np.abs(scaled.astype(int) - full.astype(int)).mean())
    figures = f"scaled_decode_difference={difference:.4f} mean_pixel_difference={levels:.3f}"
    print(figures)  # noqa: T201 - stated, with -s
    assert _decoded_side(data, spec) < 3000 / 4, "it was not scaled at all"
    assert 0 < difference < 0.05
    assert levels < 1
    assert said.argmax() == exact.argmax()


def _decoded_side(data: bytes, spec: TransformSpec) -> int:
    image: Image.Image = decode_rgb(data, at_least=2 * spec.resize_side)
    return min(image.size)


def _ask(client: Any, body: bytes, content_type: str) -> dict[str, Any]:
    response = client.invoke_endpoint(EndpointName=LOCAL_NAME, Body=body, ContentType=content_type)
    document: dict[str, Any] = json.loads(response["Body"].read())
    return document


def _row(document: dict[str, Any], number: int = 0) -> np.ndarray:
    return np.array(list(document["predictions"][number]["probabilities"].values()))
