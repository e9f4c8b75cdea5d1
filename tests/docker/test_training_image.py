"""The training image under SageMaker's contract, with docker alone.

`train` as argument, hyperparameters from /opt/ml/input/config, checkpoints, SIGTERM within
the grace time of spot machines, exit status and /opt/ml/output/failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from shared.vision.bundle import open_bundle
from shared.vision.tests.factories import make_dataset

pytestmark = pytest.mark.slow  # its image is the largest
GRACE_S = 120  # SageMaker's, between SIGTERM and SIGKILL
WAIT_S = 120
HYPERPARAMETERS = {
    "model_name": "mobilenetv3_small_050",
    "pretrained": "none",
    "image_size": "32",
    "epochs": "1",
    "batch_size": "16",
}


@dataclass
class Training:
    """A tree on this machine and the containers that were given it."""

    engine: docker.DockerClient
    image: str
    folder: Path
    containers: list[Any]

    def start(self, **changes: str) -> Any:
        """Start the image as the platform does; return the container."""
        config = self.folder / "input" / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS | changes))
        hosts = {"current_host": "algo-1", "hosts": ["algo-1"]}
        (config / "resourceconfig.json").write_text(json.dumps(hosts))
        (config / "inputdataconfig.json").write_text('{"dataset": {"TrainingInputMode": "File"}}')
        for name in ("model", "output", "checkpoints"):
            (self.folder / name).mkdir(exist_ok=True)
        for path in (self.folder, *self.folder.rglob("*")):  # for the image's own user
            path.chmod(0o777 if path.is_dir() else 0o666)
        container = self.engine.containers.run(
            self.image,
            "train",
            detach=True,
            environment={"OMP_NUM_THREADS": "1"},
            volumes={str(self.folder): {"bind": "/opt/ml", "mode": "rw"}},
        )
        self.containers.append(container)
        return container

    def run(self, **changes: str) -> tuple[int, str]:
        """Run it to its end; return exit status and what it said."""
        container = self.start(**changes)
        status = container.wait(timeout=WAIT_S)["StatusCode"]
        return status, container.logs().decode()

    @property
    def failure(self) -> Path:
        return self.folder / "output" / "failure"


@pytest.fixture
def training(
    engine: docker.DockerClient, image: Callable[[str], str], tmp_path: Path
) -> Iterator[Training]:
    made = Training(engine, image("train"), tmp_path / "ml", [])
    make_dataset(made.folder / "input" / "data" / "dataset")
    yield made
    for container in made.containers:
        container.remove(force=True, v=True)


def test_it_trains_from_the_platforms_files(training: Training) -> None:
    status, said = training.run()
    assert status == 0, said
    assert not training.failure.exists()
    assert "val_f1=" in said
    with open_bundle(training.folder / "model") as bundle:
        assert bundle.info.model_name == HYPERPARAMETERS["model_name"]
    assert list((training.folder / "output" / "tensorboard").rglob("events*"))
    assert not any((training.folder / "checkpoints").iterdir())  # a finished run resumes none


def test_a_wrong_hyperparameter_is_the_failure_reason(training: Training) -> None:
    status, said = training.run(epochs="many")
    assert status == 2, said
    reason = training.failure.read_text()
    assert reason == "train: parameter 'epochs' takes a whole number, not 'many'"
    assert "Traceback" not in said


def test_a_missing_channel_is_the_failure_reason(training: Training) -> None:
    (training.folder / "input" / "data" / "dataset").rename(training.folder / "elsewhere")
    status, said = training.run()
    assert status == 1, said
    assert training.failure.read_text().startswith("train: input 'dataset' (Dataset) is missing")


def test_it_ends_at_sigterm_and_its_successor_goes_on_from_the_checkpoint(
    training: Training,
) -> None:
    endless = {"epochs": "1000000"}  # so small an epoch takes a tenth of a second
    container = training.start(**endless)
    _wait_for(b"epoch=1/", container)
    assert not list((training.folder / "checkpoints").rglob("last.ckpt"))  # none was due yet
    begun = time.monotonic()
    container.kill("SIGTERM")
    status = container.wait(timeout=GRACE_S)["StatusCode"]
    assert time.monotonic() - begun < GRACE_S / 4
    assert status == 143, container.logs().decode()
    assert list((training.folder / "checkpoints").rglob("last.ckpt"))
    _wait_for(b"resum", training.start(**endless))


def _wait_for(words: bytes, container: Any) -> None:
    end = time.monotonic() + WAIT_S
    while words not in (said := container.logs()):
        container.reload()
        assert container.status == "running", said.decode()
        assert time.monotonic() < end, said.decode()
        time.sleep(0.1)
