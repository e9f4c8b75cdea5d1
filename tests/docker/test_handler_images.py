"""The images of the small functions: whole, small, and saying what they lack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from docker import DockerClient
from docker.errors import ContainerError

pytestmark = pytest.mark.docker
HANDLERS = ("retrain", "deploy")


@pytest.mark.parametrize("component", HANDLERS)
def test_it_explains_itself(
    engine: DockerClient, image: Callable[[str], str], component: str
) -> None:
    said = engine.containers.run(image(component), ["--help"], remove=True, network_mode="none")
    assert said.decode().startswith(f"usage: python -m components.{component} ")


@pytest.mark.parametrize("component", HANDLERS)
def test_it_carries_neither_torch_nor_numpy(
    engine: DockerClient, image: Callable[[str], str], component: str
) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'numpy') if u.find_spec(n)])"
    said = engine.containers.run(
        image(component), ["-c", code], entrypoint=["python"], remove=True, network_mode="none"
    )
    assert said.decode().strip() == "[]"


def test_without_credentials_retrain_says_so_in_one_line(
    engine: DockerClient, image: Callable[[str], str]
) -> None:
    flags = ["--data-bucket", "data", "--artifacts-bucket", "artifacts"]
    with pytest.raises(ContainerError) as failed:
        engine.containers.run(
            image("retrain"),
            flags,
            remove=True,
            network_mode="none",
            environment={"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"},
        )
    assert failed.value.exit_status == 1
    (line,) = failed.value.stderr.decode().strip().splitlines()
    assert line.startswith("error: retrain: Unable to locate credentials; check AWS_PROFILE")
