"""The main job as a newcomer runs it, and its figures by another road.

One run of the command serves most tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from ci.problems import REPOSITORY

pytestmark = pytest.mark.slow
JOBS = ("FetchData", "Preprocess", "Train", "Evaluate", "Explain", "FitDetector", "Register")
PARAMETERS = {
    "TrainDataset": "sample://scenes?images=96&test=36&unlabelled=0&size=48",
    "ImageSize": "32",
    "Epochs": "2",
    "BatchSize": "16",
    "PretrainedWeights": "none",
    "MinAccuracy": "0.01",
    "MinMacroF1": "0.01",
    "MinClassRecall": "0",
    "MaxRegression": "1",
}


@dataclass(frozen=True)
class Finished:
    """One `pipeline.py` that ended."""

    status: int
    out: str
    error: str
    duration_s: float


@dataclass(frozen=True)
class Laptop:
    """A machine that keeps its runs below `home`."""

    home: Path

    def run(self, *arguments: str) -> Finished:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "pipeline.py", "--backend", "local", *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"VISIONLOOP_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        elapsed_s = time.monotonic() - started
        return Finished(done.returncode, done.stdout, done.stderr, elapsed_s)

    def start(self, **changes: str) -> Finished:
        values = (PARAMETERS | changes).items()
        words = [word for name, value in values for word in ("-p", f"{name}={value}")]
        return self.run("--upsert", "--start", *words)

    def packages(self) -> list[dict[str, Any]]:
        path = self.home / "registry.json"
        packages: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return packages

    def executions(self) -> list[dict[str, Any]]:
        """Return what was recorded of every execution, the oldest first."""
        found = (self.home / "executions" / "visionloop").glob("*/execution.json")
        return sorted((json.loads(p.read_text()) for p in found), key=lambda e: e["start"])

    def path(self, uri: str) -> Path:
        return self.home / "s3" / uri.removeprefix("s3://")

    def output(self, execution: dict[str, Any], step: str, name: str) -> Path:
        return self.path(execution["steps"][step]["outputs"][name])


@pytest.fixture(scope="session")
def laptop(tmp_path_factory) -> Laptop:
    return Laptop(tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="session")
def first(laptop) -> Finished:
    done = laptop.start()
    assert done.status == 0, done.out + done.error
    return done


@pytest.fixture(scope="session")
def second(laptop, first) -> Finished:
    return laptop.start()


@pytest.fixture(scope="session")
def challenger(laptop, second) -> Finished:
    """Approve the first package and start with another seed and a gate nobody meets."""
    approved = laptop.run("--approve", laptop.packages()[0]["ModelPackageArn"])
    assert approved.status == 0, approved.error
    return laptop.start(Seed="1", MinAccuracy="1")


def evaluation_of(laptop, execution) -> dict[str, Any]:
    path = laptop.output(execution, "Evaluate", "metrics") / "evaluation.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def archive_of(laptop, package) -> Path:
    (container,) = package["InferenceSpecification"]["Containers"]
    return laptop.path(container["ModelDataUrl"])


def test_ends_with_metrics_gates_package_and_report(laptop, first):
    lines = first.out.splitlines()
    evaluation = evaluation_of(laptop, laptop.executions()[0])
    accuracy = evaluation["metrics"]["accuracy"]
    assert any(line.split() == ["accuracy", f"{accuracy:.4f}"] for line in lines)
    for gate in evaluation["gates"]["results"]:
        assert any(line.split()[0] == gate["name"] and line.endswith("passed") for line in lines)
    arn = laptop.packages()[0]["ModelPackageArn"]
    assert f"model package  {arn} (PendingManualApproval)" in lines
    (report,) = [line.split()[-1] for line in lines if line.startswith("report ")]
    assert Path(report).stat().st_size > 100_000


def test_every_figure_follows_from_the_package_and_the_frozen_test_set(laptop, first, tmp_path):
    """Nothing of ours but file names: tar, PIL, torch.jit and scikit-learn."""
    with tarfile.open(archive_of(laptop, laptop.packages()[0])) as tar:
        tar.extractall(tmp_path / "bundle", filter="data")
    info = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    execution = laptop.executions()[0]
    frozen = laptop.path(execution["parameters"]["FrozenTest"])
    logits, labels = answer(tmp_path / "bundle" / "model.ts", info, frozen)
    said = logits.argmax(1)
    found = evaluation_of(laptop, execution)["metrics"]
    assert len(labels) == 36
    assert found["accuracy"] == pytest.approx((said == labels).mean(), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"), abs=1e-6)
    assert info["metrics"]["test_accuracy"] == found["accuracy"]
    assert info["temperature"] == found["temperature"]


def answer(script: Path, info: dict[str, Any], frozen: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels of every image in the frozen test set's shards."""
    spec, inputs, labels = info["transform"], [], []
    for shard in sorted(frozen.glob("*.tar")):
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            for image, label in zip(members[::2], members[1::2], strict=True):
                labels.append(info["classes"].index(tar.extractfile(label).read().decode()))
                inputs.append(prepared(Image.open(tar.extractfile(image)), spec))
    module = torch.jit.load(str(script)).eval()
    with torch.inference_mode():
        logits, _ = module(torch.tensor(np.stack(inputs), dtype=torch.float32).permute(0, 3, 1, 2))
    return logits.numpy(), np.array(labels)


def prepared(image: Image.Image, spec: dict[str, Any]) -> np.ndarray:
    """Resize a square image, crop the centre, normalise: what bundle.json says in words."""
    assert image.width == image.height
    resampling = Image.Resampling[spec["interpolation"].upper()]
    image = image.convert("RGB").resize((spec["resize_side"],) * 2, resampling)
    margin = (spec["resize_side"] - spec["image_size"]) // 2
    pixels = np.asarray(image)[margin:, margin:][: spec["image_size"], : spec["image_size"]]
    return (pixels / 255 - spec["mean"]) / spec["std"]


def test_the_registry_holds_the_statistics_of_the_evaluation(laptop, first):
    package = laptop.packages()[0]
    source = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    statistics = json.loads(laptop.path(source).read_text())["multiclass_classification_metrics"]
    accuracy = evaluation_of(laptop, laptop.executions()[0])["metrics"]["accuracy"]
    assert statistics["accuracy"]["value"] == accuracy
    page = laptop.path(package["ModelMetrics"]["Explainability"]["Report"]["S3Uri"]).read_text()
    chapters = ("Summary", "Training", "Evaluation", "Explanations", "Drift detector")
    assert all(f">{chapter}<" in page for chapter in chapters)


def test_the_golden_images_get_their_answers(laptop, first, tmp_path):
    with tarfile.open(archive_of(laptop, laptop.packages()[0])) as tar:
        tar.extractall(tmp_path, filter="data")
    info = json.loads((tmp_path / "bundle.json").read_text())
    golden = json.loads((tmp_path / "golden" / "golden.json").read_text())["images"]
    module = torch.jit.load(str(tmp_path / "model.ts")).eval()
    for entry in golden:
        with Image.open(tmp_path / "golden" / entry["file"]) as image:
            pixels = prepared(image, info["transform"])
        with torch.inference_mode():
            logits, _ = module(torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None])
        probabilities = (logits[0] / info["temperature"]).softmax(0).numpy()
        assert np.abs(probabilities - entry["probabilities"]).max() < 1e-4


def test_a_second_run_takes_every_step_from_the_cache(laptop, second):
    assert second.status == 0
    assert second.duration_s < 10
    steps = laptop.executions()[1]["steps"]
    assert all(steps[job]["cached_from"] for job in JOBS)
    one, two = laptop.packages()[:2]
    assert archive_of(laptop, one).read_bytes() == archive_of(laptop, two).read_bytes()


@pytest.mark.training  # the second one
def test_the_next_model_is_compared_with_the_approved_one_on_the_same_images(laptop, challenger):
    before, after = laptop.executions()[0], laptop.executions()[2]
    champion = laptop.packages()[0]["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert before["parameters"]["Champion"] == ""
    assert after["parameters"]["Champion"] == champion
    old, new = evaluation_of(laptop, before), evaluation_of(laptop, after)
    assert old["test_fingerprint"] == new["test_fingerprint"]
    lost = max(0.0, old["metrics"]["accuracy"] - new["metrics"]["accuracy"])
    assert new["metrics"]["regression"] == pytest.approx(lost, abs=1e-6)
    path = laptop.output(after, "Evaluate", "report") / "report.json"
    champion_accuracy = json.loads(path.read_text())["champion"]["champion_accuracy"]
    assert champion_accuracy == pytest.approx(old["metrics"]["accuracy"], abs=1e-6)


@pytest.mark.training
def test_a_gate_that_is_not_met_ends_the_run_and_registers_nothing(laptop, challenger):
    assert challenger.status == 1
    assert "GatesFailed failed: A gate failed: accuracy >= 1" in challenger.out
    assert "FAILED" in challenger.out
    steps = laptop.executions()[2]["steps"]
    assert steps["Register"]["status"] == steps["RegisterModel"]["status"] == "NotExecuted"
    assert len(laptop.packages()) == 2
