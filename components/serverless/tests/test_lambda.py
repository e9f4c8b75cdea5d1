"""The function under awslambdaric, in a process of its own, asked by a runtime API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.serverless.tests.events import http
from shared.component.files import sha256_of, write_json
from shared.component.tests.lambda_runtime import Function, running
from shared.vision.bundle import Bundle, pack
from shared.vision.golden import read_golden
from shared.vision.tests.served import make_served_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_served_bundle(tmp_path_factory.mktemp("bundle"), has_onnx=True)


@pytest.fixture(scope="module")
def function(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("model")
    pack(bundle.folder, folder / "model.tar.gz")  # as SageMaker and the image have it
    with running("serverless", "--model", str(folder), "--model-version", "7") as started:
        yield started


def test_events_are_answered_one_after_the_other(function: Function, bundle: Bundle) -> None:
    for golden in read_golden(bundle):
        response = function.api.invoke(http(golden.data, "image/png"))
        (prediction,) = json.loads(response["body"])["predictions"]
        assert list(prediction["probabilities"].values()) == pytest.approx(
            golden.probabilities, abs=1e-4
        )
    assert function.api.invoke(http(None, path="/ping", method="GET"))["statusCode"] == 200
    wrong = function.api.invoke(http(b"no image", "image/png"))
    assert wrong["statusCode"] == 422


def test_a_direct_invocation_bears_lambdas_own_request_id(
    function: Function, bundle: Bundle
) -> None:
    b64 = base64.b64encode(read_golden(bundle)[0].data).decode()
    document = function.api.invoke({"instances": [{"b64": b64}]})
    assert document["request_id"] == f"invocation-{function.api.count}"
    assert document["model_version"] == "7"


def test_with_onnx_no_torch_is_loaded(function: Function) -> None:
    mapped = Path(f"/proc/{function.process.pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert "libtorch" not in mapped


def test_a_cold_start_takes_seconds_at_most(function: Function) -> None:
    print(f"cold_start_s={function.cold_start_s:.2f}")  # noqa: T201 - a figure, with -s
    assert 0 < function.cold_start_s < 8  # the bound


def test_a_wrong_golden_answer_fails_the_init_in_one_line(tmp_path: Path) -> None:
    bundle = make_served_bundle(tmp_path)
    path = tmp_path / "golden" / "golden.json"
    document = json.loads(path.read_text())
    document["images"][0]["probabilities"].reverse()
    path.write_text(json.dumps(document))
    info = json.loads((tmp_path / "bundle.json").read_text())
    info["files"]["golden/golden.json"] = sha256_of(path)
    write_json(tmp_path / "bundle.json", info)
    with running("serverless", "--model", str(bundle.folder), is_asking=False) as function:
        place, reason = function.api.said.get(timeout=60)
        assert function.process.wait(20) == 1
        lines = [n for n in function.log.read_text().splitlines() if n.startswith("error: ")]
    assert place == "init/error"
    assert reason["errorType"] == "BundleError"
    assert reason["errorMessage"].startswith("golden image 0.png: answered")
    assert lines == [f"error: {reason['errorMessage']}"]
    assert not function.api.has_asked.is_set()
