"""`python -m ci push` to a real registry: tags, digests, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from ci.engine import Engine, connect
from ci.errors import PushError
from ci.images import Options, Recipe, chosen, recipe_of
from ci.problems import REPOSITORY
from ci.push import push_images
from ci.registry import PlainRegistry
from ci.served import free_port
from ci.tests.conftest import FILES, write
from ci.tests.engine_fake import Heard
from shared.pipeline.images import Pushed, image_uri
from shared.pipeline.settings import Settings

PATIENCE_S = 30.0


@contextmanager
def _registry(engine: docker.DockerClient, **environ: str) -> Iterator[str]:
    """Run a registry of its own on this machine; give its address."""
    port = free_port()
    container = engine.containers.run(
        "registry:2", detach=True, ports={"5000/tcp": ("127.0.0.1", port)}, environment=environ
    )
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        container.remove(force=True, v=True)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def registry(engine: docker.DockerClient) -> Iterator[str]:
    with _registry(engine) as address:
        yield address


@pytest.fixture
def built(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Callable[[str], Recipe]]:
    """Return a function that makes an image of a few bytes as the sheep's."""
    root = tmp_path / "farm"
    write(root, FILES)
    connected = connect()
    made: list[str] = []

    def build(text: str) -> Recipe:
        (root / "components/sheep/component.py").write_text(text)
        [spec] = chosen(["sheep"], root)
        recipe = recipe_of(spec, root, connected, Options())
        process = connected.buildx(["build", "--provenance=false", "-t", recipe.name, "-"])
        process.communicate(f"FROM scratch\nLABEL text={len(text)}\n".encode())
        assert process.returncode == 0
        made.append(engine.images.get(recipe.name).id)
        return recipe

    yield build
    left = {image.id for image in engine.images.list("visionloop/sheep")}
    for image_id in left | {image.id for image in engine.images.list() if image.id in made}:
        engine.images.remove(image_id, force=True)


def _push(recipe: Recipe, address: str, home: Path) -> tuple[Pushed, list[str]]:
    connected: Engine = connect()
    heard = Heard()
    pushed = push_images([recipe], PlainRegistry(address, connected), connected, home, heard)
    return pushed["sheep"], [text for _, text in heard.ends]


def test_what_is_pushed_can_be_pulled_by_its_digest(
    built: Callable[[str], Recipe], registry: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    recipe = built("SHEEP = 1\n")
    made = engine.images.get(recipe.name).id
    pushed, _ = _push(recipe, f"{registry}/team", tmp_path)
    repository, _, digest = pushed.uri.partition("@")
    assert repository == f"{registry}/team/visionloop/sheep"
    pulled = engine.images.pull(repository, tag=digest)
    assert pulled.id == made
    for tag in (recipe.tag, recipe.code):
        assert engine.images.get_registry_data(f"{repository}:{tag}").id == digest
    settings = Settings(home=tmp_path, root=tmp_path / "farm", explicit_registry=f"{registry}/team")
    assert image_uri(recipe.spec, settings) == pushed.uri


def test_a_tag_that_is_there_is_not_pushed_again(
    built: Callable[[str], Recipe], registry: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    recipe = built("SHEEP = 22\n")
    first, _ = _push(recipe, registry, tmp_path)
    connected = connect()
    # Other bytes under the same name: were they pushed, the digest would change.
    process = connected.buildx(["build", "--provenance=false", "-t", recipe.name, "-"])
    process.communicate(b"FROM scratch\nLABEL text=other\n")
    second, _ = _push(recipe, registry, tmp_path)
    assert second == first


def test_a_registry_that_is_not_there_is_told_with_component_and_address(
    built: Callable[[str], Recipe], tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(PushError, match=rf"sheep: push: .*{address}.*connection refused"):
        _push(built("SHEEP = 333\n"), address, tmp_path)


def test_a_registry_that_refuses_writes_is_told_with_its_own_words(
    built: Callable[[str], Recipe], engine: docker.DockerClient, tmp_path: Path
) -> None:
    recipe = built("SHEEP = 4444\n")
    with (
        _registry(engine, REGISTRY_STORAGE_MAINTENANCE_READONLY='{"enabled": true}') as address,
        pytest.raises(PushError, match=r"sheep: push: .* is refused: .+; does the registry run"),
    ):
        _push(recipe, address, tmp_path)
    assert not (tmp_path / "images.json").exists()


def test_the_command_pushes_what_a_definition_then_names(registry: str, tmp_path: Path) -> None:
    environ = os.environ | {
        "VISIONLOOP_HOME": str(tmp_path),
        "VISIONLOOP_IMAGE_REGISTRY": f"{registry}/team",
    }

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, *words],
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        ).stdout

    uris = [json.loads(run("-m", "ci", "push", "fetch_data"))["fetch_data"] for _ in range(2)]
    assert uris[0] == uris[1]
    assert uris[0].startswith(f"{registry}/team/visionloop/fetch_data@sha256:")
    steps = {step["Name"]: step for step in json.loads(run("pipeline.py", "--definition"))["Steps"]}
    images = [
        steps[name]["Arguments"]["AppSpecification"]["ImageUri"]
        for name in ("FetchData", "Preprocess")
    ]
    assert images[0] == uris[0]
    assert images[1].startswith(f"{registry}/team/visionloop/preprocess:")
