"""One document, two backends: what containers make is what processes of this machine make."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

import pipeline
from shared.component.files import sha256_of
from shared.pipeline import cli
from shared.pipeline.settings import REPOSITORY
from tests.docker import small_pipeline
from tests.docker.small_pipeline import images_of_this_code

OUTPUTS = [
    ("FetchData", "raw"),
    ("FetchData", "labels"),
    ("Preprocess", "dataset"),
    ("Preprocess", "frozen"),
    ("Preprocess", "report"),
]
WAIT_S = 60
MAIN_JOB = ("fetch_data", "preprocess", "train", "evaluate", "explain", "fit_detector", "register")
MAIN_PARAMETERS = {
    "TrainDataset": "sample://scenes?images=96&test=36&unlabelled=0&size=48",
    "ImageSize": "32",
    "Epochs": "1",
    "BatchSize": "16",
    "PretrainedWeights": "none",
    "MinAccuracy": "0.01",
    "MinMacroF1": "0.01",
    "MinClassRecall": "0",
    "MaxRegression": "1",
}


@dataclass(frozen=True)
class Machine:
    """Where one backend keeps what it ran."""

    home: Path
    backend: str
    build: cli.Build

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"VISIONLOOP_HOME": str(self.home)}

    def start(self, *words: str) -> tuple[int, str]:
        out = io.StringIO()
        command = ["--upsert", "--start", "--backend", self.backend, *words]
        return cli.main(self.build, command, self.environ, out=out), out.getvalue()

    def execution(self) -> dict[str, Any]:
        (found,) = self.home.glob("executions/*/*/execution.json")
        document: dict[str, Any] = json.loads(found.read_text())
        return document

    def output(self, step: str, name: str) -> Path:
        uri = self.execution()["steps"][step]["outputs"][name]
        return self.home / "s3" / uri.removeprefix("s3://")

    def files(self, step: str, name: str) -> dict[str, str]:
        """Return the sha256 of every file of an output, by its path in it."""
        folder = self.output(step, name)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): sha256_of(path) for path in files}


@pytest.fixture(scope="module")
def images(engine: docker.DockerClient, image: Callable[[str], str]) -> Iterator[None]:
    with images_of_this_code(engine, image, "fetch_data", "preprocess"):
        yield


@pytest.fixture(scope="module")
def machines(images: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    """The small pipeline, run by both."""
    folder = tmp_path_factory.mktemp("machines")
    made = {}
    for backend in ("local", "docker"):
        made[backend] = Machine(folder / backend, backend, small_pipeline.build)
        status, out = made[backend].start()
        assert status == 0, out
    return made


def containers(engine: docker.DockerClient) -> list[Any]:
    found: list[Any] = engine.containers.list(
        all=True, filters={"label": "visionloop.execution"}, ignore_removed=True
    )
    return found


@pytest.mark.parametrize(("step", "output"), OUTPUTS)
def test_containers_make_the_same_bytes(
    machines: dict[str, Machine], step: str, output: str
) -> None:
    files = machines["docker"].files(step, output)
    assert files == machines["local"].files(step, output)
    assert files


def test_fingerprints_are_the_same(machines: dict[str, Machine]) -> None:
    infos = {
        backend: json.loads((machine.output("Preprocess", "dataset") / "dataset.json").read_text())
        for backend, machine in machines.items()
    }
    assert infos["docker"]["fingerprint"] == infos["local"]["fingerprint"] != ""


def test_what_a_container_wrote_belongs_to_the_caller(machines: dict[str, Machine]) -> None:
    written = list(machines["docker"].home.rglob("*"))
    assert len(written) > 50
    strangers = {path for path in written if path.lstat().st_uid != os.getuid()}
    assert strangers == set()
    assert all(os.access(path, os.R_OK) for path in written)


def test_the_log_of_a_step_is_its_containers_output(machines: dict[str, Machine]) -> None:
    logs = {
        backend: Path(machine.execution()["steps"]["Preprocess"]["log"]).read_text()
        for backend, machine in machines.items()
    }
    assert "INFO" in logs["docker"]
    assert len(logs["docker"].splitlines()) == len(logs["local"].splitlines())


def test_no_container_is_left(engine: docker.DockerClient, machines: dict[str, Machine]) -> None:
    assert containers(engine) == []


def test_local_data_reaches_the_container(images: None, tmp_path: Path) -> None:
    from PIL import Image

    for label, shade in (("dark", 20), ("light", 220)):
        folder = tmp_path / "my photos" / "train" / label
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (48, 48), (shade, shade + number, 90)).save(folder / f"{number}.png")
    machine = Machine(tmp_path / "home", "docker", small_pipeline.build)
    machine.start("-p", f"TrainDataset={tmp_path / 'my photos'}")
    step = machine.execution()["steps"]["FetchData"]
    assert step["status"] == "Succeeded", step["reason"]
    assert sum(name.endswith(".png") for name in machine.files("FetchData", "raw")) == 12


def test_a_components_own_words_are_the_reason(images: None, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    machine = Machine(tmp_path / "home", "docker", small_pipeline.build)
    status, out = machine.start("-p", f"TrainDataset={tmp_path / 'broken.zip'}")
    assert status == 1
    assert "broken.zip is no archive or a damaged one" in out
    assert "Traceback" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_container(
    engine: docker.DockerClient, images: None, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tests.docker.small_pipeline", "--upsert", "--start"]
    command += ["--backend", "docker", "-p", "TrainDataset=sample://scenes?images=20000"]
    environ = os.environ | {"VISIONLOOP_HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE)
    end = time.monotonic() + WAIT_S
    while not any(each.status == "running" for each in containers(engine)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert b"stopped; start again" in out
    assert containers(engine) == []


@pytest.fixture(scope="module")
def main_job(
    engine: docker.DockerClient,
    image: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Machine]:
    """The whole main job, run by both."""
    folder = tmp_path_factory.mktemp("main")
    words = [word for name, value in MAIN_PARAMETERS.items() for word in ("-p", f"{name}={value}")]
    made = {}
    with images_of_this_code(engine, image, *MAIN_JOB):
        for backend in ("local", "docker"):
            made[backend] = Machine(folder / backend, backend, pipeline.build)
            status, out = made[backend].start(*words)
            assert status == 0, out
    return made


@pytest.mark.slow
def test_the_main_job_measures_the_same(main_job: dict[str, Machine]) -> None:
    found = {
        backend: json.loads((machine.output("Evaluate", "metrics") / "evaluation.json").read_text())
        for backend, machine in main_job.items()
    }
    assert found["docker"]["test_fingerprint"] == found["local"]["test_fingerprint"] != ""
    metrics = {backend: document["metrics"] for backend, document in found.items()}
    assert metrics["docker"] == pytest.approx(metrics["local"], abs=1e-6)


@pytest.mark.slow
def test_the_main_job_registers_the_same_package(main_job: dict[str, Machine]) -> None:
    packages = [
        json.loads((machine.home / "registry.json").read_text()) for machine in main_job.values()
    ]
    in_processes, in_containers = (set(package[0]) for package in packages)
    assert in_containers == in_processes
