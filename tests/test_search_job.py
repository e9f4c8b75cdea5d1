"""The search as a newcomer runs it: real trainings, real figures, real defaults.

One run of the command serves all tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.problems import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.training]
NAME = "pictures"
PARAMETERS = {
    "TrainDataset": "sample://scenes?images=72&test=24&unlabelled=0&size=48",
    "ImageSize": "32",
    "Epochs": "2",
    "Model": "test_resnet",
    "Trials": "2",
    "PretrainedWeights": "none",
}
SPACE = {
    "searched": {
        "optimizer": {"choices": ["adamw", "sgd"]},
        "learning_rate": {"low": 0.0005, "high": 0.02, "scale": "log"},
    }
}


@dataclass(frozen=True)
class Searched:
    """A search that has ended, and where."""

    home: Path
    out: str

    def outputs(self, step: str, output: str) -> list[Path]:
        return list(self.home.glob(f"s3/*/{NAME}-tune/*/{step}/{output}"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return _pipeline(self.home, *arguments)


def _pipeline(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {
        "VISIONLOOP_HOME": str(home),
        "VISIONLOOP_DEFAULTS": str(home / "defaults.yaml"),
    }
    command = [sys.executable, "pipeline.py", "--backend", "local", "--name", NAME, *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    home = tmp_path_factory.mktemp("home")
    space = home / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    words = [word for name, value in PARAMETERS.items() for word in ("-p", f"{name}={value}")]
    done = _pipeline(home, "--tune", "--space", str(space), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(2/2 trials best=" in done.stderr
    return Searched(home, done.stdout)


def test_the_winner_is_the_best_of_validation_and_the_only_one_that_was_tested(
    searched: Searched,
) -> None:
    (report,) = searched.outputs("Tune", "report")
    found: dict[str, Any] = json.loads((report / "report.json").read_text())
    values = {t["number"]: t["value"] for t in found["trials"] if t["state"] == "complete"}
    assert values[found["best"]] == max(values.values())
    assert all(0 <= value <= 1 for value in values.values())
    (metrics,) = searched.outputs("Evaluate", "metrics")
    tested = json.loads((metrics / "evaluation.json").read_text())["metrics"]
    assert found["test_metrics"]["accuracy"] == tested["accuracy"]
    assert f"val_f1={values[found['best']]:.4f} (trial {found['best']})" in searched.out
    assert (report / "report.html").stat().st_size > 50_000
    (dataset,) = searched.outputs("Preprocess", "dataset")
    info = json.loads((dataset / "dataset.json").read_text())
    assert found["dataset_fingerprint"] == info["fingerprint"]
    assert found["test_fingerprint"] == info["test_fingerprint"]


def test_tensorboard_finds_the_curves_of_all_trials(searched: Searched) -> None:
    folders = list(searched.home.glob(f"s3/*/{NAME}-tune/tensorboard/*-Search-00?"))
    assert len(folders) == 2
    assert all(list(folder.rglob("events.out.tfevents.*")) for folder in folders)


def test_what_was_found_becomes_the_default_with_its_provenance(searched: Searched) -> None:
    (line,) = [line for line in searched.out.splitlines() if line.startswith("adopt them")]
    done = searched.run(*line.partition("pipeline.py ")[2].split())
    assert done.returncode == 0, done.stderr
    adopted = yaml.safe_load((searched.home / "defaults.yaml").read_text())
    definition = json.loads(searched.run("--definition").stdout)
    defaults = {p["Name"]: p["DefaultValue"] for p in definition["Parameters"]}
    assert defaults["Optimizer"] == adopted["defaults"]["train.optimizer"]
    assert defaults["LearningRate"] == adopted["defaults"]["train.learning_rate"]
    assert defaults["Model"] == "mobilenetv3_small_050", "which was not searched"
    assert adopted["provenance"]["trained_with"] == {
        "epochs": 2,
        "image_size": 32,
        "pretrained": "none",
    }
