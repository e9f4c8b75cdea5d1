"""A Docker engine and the components' images; without an engine these tests are skipped.

`make test-docker` starts an engine where none answers and one can be started.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """Return a client of the engine that answers."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command; make test-docker starts an engine where it can")
    # docker-py leaves a socket open where nobody answers, which pytest takes for a failure.
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if asked.returncode:
        words = asked.stderr.strip()
        pytest.skip(f"no Docker engine answers: {words}; make test-docker starts one where it can")
    client = docker.from_env(timeout=120)
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> Callable[[str], str]:
    """Return a function that builds a component's image as its Dockerfile says, once."""
    built: set[str] = set()

    def build(component: str) -> str:
        if component not in built:
            command = ["docker", "build", "-q", "-f", f"components/{component}/Dockerfile"]
            subprocess.run([*command, "-t", component, "."], cwd=ROOT, check=True, timeout=1800)
            built.add(component)
        return component

    return build


def exists(engine: docker.DockerClient, name: str) -> bool:
    """Say whether an image is there."""
    try:
        engine.images.get(name)
    except ImageNotFound:
        return False
    return True
