"""What is in an image can be listed, comes from somewhere, and is nobody's secret."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import pytest

from ci.build import Builder
from ci.engine import Engine, connect
from ci.images import Options, Recipe, chosen, recipe_of
from ci.layers import layer_count, secrets_in
from ci.locks import normal, pins
from ci.problems import REPOSITORY
from ci.sbom import bill_of
from ci.tests.engine_fake import Heard

# A light image, one with the transforms, and the endpoint's, which carries the most packages.
NAMES = ("fetch_data", "preprocess", "inference")


@pytest.fixture(scope="module")
def connected(engine: docker.DockerClient) -> Engine:
    return connect()


@pytest.fixture(scope="module", params=NAMES)
def recipe(
    request: pytest.FixtureRequest, connected: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Recipe:
    """An image of this repository, built where it is not there."""
    [spec] = chosen([request.param], REPOSITORY)
    recipe = recipe_of(spec, REPOSITORY, connected, Options())
    Builder(connected, REPOSITORY, tmp_path_factory.mktemp("builds"), Heard()).build(recipe)
    return recipe


def test_no_layer_of_ours_holds_a_secret(recipe: Recipe, connected: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with archive.open("wb") as stream:
        stream.writelines(connected.save(recipe.name))
    base = connected.image(recipe.base) or {}
    assert [str(secret) for secret in secrets_in(archive, below=layer_count(base))] == []
    archive.unlink()  # pytest keeps folders; this is half a gigabyte


def test_labels_say_which_revision_and_base_an_image_is_of(
    recipe: Recipe, connected: Engine
) -> None:
    labels = (connected.image(recipe.name) or {})["Config"]["Labels"]
    assert labels["visionloop.component"] == recipe.spec.name
    assert labels["visionloop.code"] == recipe.code
    assert labels["org.opencontainers.image.base.digest"] == recipe.base_id
    assert len(labels["org.opencontainers.image.revision"].partition("-")[0]) == 40


def test_the_bill_of_materials_lists_what_the_lock_pins(recipe: Recipe, connected: Engine) -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    bill = json.loads(bill_of(recipe, connected))
    listed = {
        normal(part["name"]): part["version"]
        for part in bill["components"]
        if part["purl"].startswith("pkg:pypi/")
    }
    locked = pins(REPOSITORY / "components" / recipe.spec.name / "requirements.txt")
    assert {name for name in locked if listed.get(name) not in locked[name]} <= _elsewhere(recipe)
    assert any(part["purl"].startswith("pkg:deb/debian/libc6@") for part in bill["components"])


def _elsewhere(recipe: Recipe) -> set[str]:
    """Return what the lock has for other systems than the image's."""
    lock = (REPOSITORY / "components" / recipe.spec.name / "requirements.txt").read_text()
    lines = [line for line in lock.splitlines() if "==" in line and "platform" in line]
    return {normal(line.partition("==")[0]) for line in lines}
