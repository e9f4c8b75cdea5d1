"""The serverless image and a model in it, asked through the base's interface emulator."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest

from shared.vision.bundle import Bundle
from shared.vision.golden import check_golden, read_golden
from shared.vision.tests.served import make_served_bundle

EMULATOR = "/usr/local/bin/aws-lambda-rie"
PATH = "2015-03-31/functions/function/invocations"
START_S = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_served_bundle(tmp_path_factory.mktemp("served"), has_onnx=True)


@pytest.fixture(scope="module")
def function_image(
    engine: docker.DockerClient, image: Callable[[str], str], bundle: Bundle
) -> Iterator[str]:
    """One image a model, as the component's README says: FROM serverless, COPY the model."""
    name = f"serverless-test-{uuid.uuid4().hex[:8]}"
    context = io.BytesIO()
    dockerfile = f"FROM {image('serverless')}\nCOPY model /opt/ml/model\n".encode()
    with tarfile.open(fileobj=context, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
        archive.add(bundle.folder, "model", filter=_readable)
    context.seek(0)
    engine.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
    yield name
    engine.images.remove(name, force=True)


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


@pytest.fixture(scope="module")
def function(engine: docker.DockerClient, function_image: str) -> Iterator[Any]:
    """A container of it."""
    container = engine.containers.run(
        function_image,
        ["python", "-m", "components.serverless"],
        entrypoint=EMULATOR,
        detach=True,
        ports={"8080/tcp": ("127.0.0.1", None)},
        environment={"AWS_LAMBDA_FUNCTION_NAME": "scenes"},
    )
    try:
        yield container
    finally:
        container.remove(force=True)


def invoke(function: Any, event: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + START_S
    while True:
        function.reload()
        assert function.status in ("created", "running"), function.logs().decode()[-3000:]
        try:
            port = function.ports["8080/tcp"][0]["HostPort"]
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/{PATH}", json.dumps(event).encode()
            )
            with urllib.request.urlopen(request, timeout=START_S) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except (urllib.error.URLError, ConnectionError, KeyError, IndexError):  # it is starting
            assert time.monotonic() < end, function.logs().decode()[-3000:]
            time.sleep(0.1)


def post(data: bytes, content_type: str) -> dict[str, Any]:
    """A function URL's event."""
    return {
        "version": "2.0",
        "rawPath": "/invocations",
        "headers": {"content-type": content_type, "accept": "application/x-npy"},
        "requestContext": {"http": {"method": "POST", "path": "/invocations"}, "requestId": "id-1"},
        "body": base64.b64encode(data).decode(),
        "isBase64Encoded": True,
    }


def test_it_answers_the_golden_images(function: Any, bundle: Bundle) -> None:
    def ask(data: bytes) -> Any:
        answer = invoke(function, post(data, "image/jpeg"))
        assert answer["statusCode"] == 200, answer
        return np.load(io.BytesIO(base64.b64decode(answer["body"])))[0]

    check_golden(read_golden(bundle), ask)


def test_it_refuses_what_is_no_image_as_the_endpoint_does(function: Any) -> None:
    answer = invoke(function, post(b"no image", "image/jpeg"))
    assert answer["statusCode"] == 422
    body = answer["body"]
    said = json.loads(base64.b64decode(body) if answer.get("isBase64Encoded") else body)
    assert set(said) == {"error", "message", "request_id"}
    assert "Traceback" not in body


def test_without_a_model_it_says_so(
    engine: docker.DockerClient, image: Callable[[str], str], tmp_path: Path
) -> None:
    container = engine.containers.run(image("serverless"), ["--event", "-"], detach=True)
    try:
        assert container.wait(timeout=60)["StatusCode"] == 1
        said = container.logs().decode()
        assert "model" in said
        assert "Traceback" not in said
    finally:
        container.remove(force=True)
