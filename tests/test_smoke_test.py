"""A deployment's smoke test asks what really answers: the seam of deploy and what serves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci.problems import REPOSITORY
from components.deploy.errors import SmokeTestError
from components.deploy.golden import (
    NOT_RECORDED,
    Ask,
    Golden,
    check_golden,
    instances_of,
    prediction_in,
    read_golden,
)
from components.deploy.tests.drive import deploy
from components.deploy.tests.stage import staged
from components.serverless.component import load
from components.serverless.handler import Handler
from shared.component.spec import load_spec
from shared.vision.bundle import Bundle, pack, write_bundle
from shared.vision.service import PredictionService, Request
from shared.vision.tests.factories import make_bundle
from shared.vision.tests.served import make_served_bundle

Asker = Callable[[PredictionService], Ask]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_served_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def golden(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Golden]]:
    archive = tmp_path_factory.mktemp("packed") / "model.tar.gz"
    pack(bundle.folder, archive)
    with archive.open("rb") as stream:
        yield read_golden(stream, str(archive))


def function(service: PredictionService) -> Ask:
    """Ask as Lambda's invoke does, JSON in and out."""
    handler = Handler(service)

    def ask(image: bytes) -> dict[str, object]:
        event = json.loads(json.dumps(instances_of(image) | {"custom_attributes": NOT_RECORDED}))
        return prediction_in(json.dumps(handler(event, None)).encode(), "function")

    return ask


def endpoint(service: PredictionService) -> Ask:
    """Ask as invoke_endpoint does: the service behind components/inference."""

    def ask(image: bytes) -> dict[str, object]:
        body = json.dumps(instances_of(image)).encode()
        kind = "application/json"
        (work,) = service.answer([Request(body, kind, "1", kind, NOT_RECORDED)])
        return prediction_in(work.body, "endpoint")

    return ask


@pytest.mark.parametrize("asker", [function, endpoint])
def test_a_sound_model_passes(bundle: Bundle, golden: list[Golden], asker: Asker) -> None:
    service = load(bundle.folder, "", "auto", "1", "")
    assert check_golden(golden, asker(service)) < 1e-4
    assert len(golden) == 3


@pytest.mark.parametrize("asker", [function, endpoint])
def test_another_model_does_not(golden: list[Golden], asker: Asker, tmp_path: Path) -> None:
    other = make_bundle(tmp_path)
    write_bundle(tmp_path, replace(other.info, temperature=3.0))
    service = load(tmp_path, "", "auto", "1", "")
    with pytest.raises(SmokeTestError, match=r"golden image 0\.png: expected"):
        check_golden(golden, asker(service))


@pytest.mark.parametrize(
    ("target", "component", "beside"),
    [("endpoint", "inference", set()), ("lambda", "serverless", {"VISIONLOOP_DEPLOYMENT"})],
)
def test_an_image_knows_every_variable_that_a_deployment_sets(
    target: str, component: str, beside: set[str]
) -> None:
    spec = load_spec(REPOSITORY / "components" / component)
    with staged(target) as stage:
        deploy(stage, stage.register(1))
        if target == "lambda":
            told = stage.aws.functions.versions["1"]["Environment"]["Variables"]
        else:
            (model,) = stage.aws.sagemaker.models.values()
            told = model["PrimaryContainer"]["Environment"]
    assert set(told) - {port.variable for port in spec.parameters.values()} == beside
    for port in spec.parameters.values():
        if port.variable in told:
            port.parse(told[port.variable], component)
