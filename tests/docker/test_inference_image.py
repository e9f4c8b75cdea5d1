"""The inference image as SageMaker starts it: `serve`, the model mounted, asked and stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from ci.served import free_port
from shared.vision.bundle import Bundle
from shared.vision.golden import check_golden, read_golden
from shared.vision.tests.served import make_served_bundle

ROOT = Path(__file__).parents[2]
START_S = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that the image's own user may read."""
    found = make_served_bundle(tmp_path_factory.mktemp("served"), has_onnx=True)
    for path in (found.folder, *found.folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return found


@pytest.fixture(scope="module")
def server(
    engine: docker.DockerClient, image: Callable[[str], str], bundle: Bundle
) -> Iterator[Any]:
    """A container that serves, ready."""
    container = engine.containers.run(
        image("inference"),
        "serve",
        detach=True,
        ports={"8080/tcp": ("127.0.0.1", None)},
        volumes={str(bundle.folder): {"bind": "/opt/ml/model", "mode": "ro"}},
    )
    try:
        wait_for_ping(container)
        yield container
    finally:
        container.remove(force=True)


def address(container: Any) -> str:
    container.reload()
    port = container.ports["8080/tcp"][0]["HostPort"]
    return f"http://127.0.0.1:{port}"


def wait_for_ping(container: Any) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        container.reload()
        assert container.status in ("created", "running"), container.logs().decode()[-3000:]
        try:
            with urllib.request.urlopen(f"{address(container)}/ping", timeout=2):  # noqa: S310
                return
        except (urllib.error.URLError, OSError, KeyError, IndexError):
            time.sleep(0.1)
    pytest.fail(f"no ping in {START_S} s: {container.logs().decode()[-3000:]}")


def test_the_endpoint_tests_pass_unchanged(server: Any, bundle: Bundle) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/endpoint"]
    command += ["--endpoint-url", address(server), "--golden", str(bundle.folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_it_runs_as_an_unprivileged_user_and_says_that_it_is_healthy(server: Any) -> None:
    assert server.exec_run(["id", "-u"]).output.strip() == b"1000"
    end = time.monotonic() + START_S
    while server.attrs["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < end, server.attrs["State"]["Health"]
        time.sleep(0.2)
        server.reload()


def test_its_stdout_is_metrics_for_cloudwatch_alone(server: Any) -> None:
    for line in server.logs(stdout=True, stderr=False).decode().splitlines():
        assert line.startswith('{"'), line


def test_it_ends_well_at_sigterm(
    engine: docker.DockerClient, image: Callable[[str], str], bundle: Bundle
) -> None:
    container = engine.containers.run(
        image("inference"),
        "serve",
        detach=True,
        ports={"8080/tcp": ("127.0.0.1", None)},
        volumes={str(bundle.folder): {"bind": "/opt/ml/model", "mode": "ro"}},
    )
    try:
        wait_for_ping(container)
        begun = time.monotonic()
        container.kill("SIGTERM")
        assert container.wait(timeout=30)["StatusCode"] == 0, container.logs().decode()[-3000:]
        assert time.monotonic() - begun < 10
    finally:
        container.remove(force=True)


def test_a_bundle_that_is_none_ends_it_with_the_reason(
    engine: docker.DockerClient, image: Callable[[str], str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    container = engine.containers.run(
        image("inference"),
        "serve",
        detach=True,
        volumes={str(tmp_path): {"bind": "/opt/ml/model", "mode": "ro"}},
    )
    try:
        assert container.wait(timeout=60)["StatusCode"] == 1
        assert "/opt/ml/model" in container.logs().decode()
        assert "Traceback" not in container.logs().decode()
    finally:
        container.remove(force=True)


@pytest.fixture
def local_session(engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """SageMaker's local mode, with nothing asked of AWS; the containers it leaves go."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
    from sagemaker.core.local import LocalSession

    before = {container.id for container in engine.containers.list(all=True)}
    session = LocalSession()
    session.config = {"local": {"local_code": True, "serving_port": free_port()}}
    yield session
    for container in engine.containers.list(all=True):
        if container.id not in before:
            container.remove(force=True)


@pytest.mark.filterwarnings("ignore")  # SageMaker's own
def test_sagemakers_local_endpoint_serves_it(
    local_session: Any, image: Callable[[str], str], bundle: Bundle
) -> None:
    client = local_session.sagemaker_client
    model = {"Image": image("inference"), "Environment": {}}
    model["ModelDataUrl"] = f"file://{bundle.folder}"
    client.create_model(ModelName="scenes", PrimaryContainer=model)
    variant = {"VariantName": "AllTraffic", "ModelName": "scenes", "InstanceType": "local"}
    variant["InitialInstanceCount"] = 1  # type: ignore[assignment]
    client.create_endpoint_config("scenes", [variant])
    client.create_endpoint("scenes", "scenes")
    try:
        golden = read_golden(bundle)
        runtime = local_session.sagemaker_runtime_client

        def ask(data: bytes) -> Any:
            import numpy as np

            answer = runtime.invoke_endpoint(
                Body=data,
                EndpointName="scenes",
                ContentType="image/jpeg",
                Accept="application/x-npy",
            )
            import io

            return np.load(io.BytesIO(answer["Body"].read()))[0]

        check_golden(golden, ask)
    finally:
        client.delete_endpoint("scenes")


@pytest.mark.filterwarnings("ignore")  # SageMaker's own
def test_sagemakers_local_batch_transform_uses_it(
    local_session: Any, image: Callable[[str], str], bundle: Bundle, tmp_path: Path
) -> None:
    golden = read_golden(bundle)
    (tmp_path / "in").mkdir()
    for picture in golden:
        (tmp_path / "in" / Path(picture.name).name).write_bytes(picture.data)
    model = {"Image": image("inference"), "Environment": {}}
    model["ModelDataUrl"] = f"file://{bundle.folder}"
    client = local_session.sagemaker_client
    client.create_model(ModelName="batch", PrimaryContainer=model)
    source = {"S3DataSource": {"S3Uri": f"file://{tmp_path / 'in'}"}}
    client.create_transform_job(
        TransformJobName="job",
        ModelName="batch",
        TransformInput={"DataSource": source, "ContentType": "image/jpeg"},
        TransformOutput={
            "S3OutputPath": f"file://{tmp_path / 'out'}",
            "Accept": "application/json",
        },
        TransformResources={"InstanceType": "local", "InstanceCount": 1},
        BatchStrategy="SingleRecord",  # the local mode knows no SINGLE_RECORD
    )
    assert client.describe_transform_job("job")["TransformJobStatus"] == "Completed"
    for picture in golden:
        (found,) = tmp_path.glob(f"out/**/{Path(picture.name).name}.out")
        (said,) = json.loads(found.read_bytes())["predictions"]
        assert said["label"] == picture.label


def test_a_platform_that_names_another_port_is_followed(
    engine: docker.DockerClient, image: Callable[[str], str], bundle: Bundle
) -> None:
    """Multi-container endpoints say by SAGEMAKER_BIND_TO_PORT where to listen."""
    container = engine.containers.run(
        image("inference"),
        "serve",
        detach=True,
        environment={"SAGEMAKER_BIND_TO_PORT": "9090"},
        volumes={str(bundle.folder): {"bind": "/opt/ml/model", "mode": "ro"}},
    )
    ask = "import urllib.request as u; u.urlopen('http://127.0.0.1:9090/ping', timeout=2)"
    try:
        end = time.monotonic() + START_S
        while container.exec_run(["python", "-c", ask]).exit_code:
            assert time.monotonic() < end, container.logs().decode()[-3000:]
    finally:
        container.remove(force=True)
