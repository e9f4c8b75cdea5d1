"""How a training learns which MLflow it reports to: by the definition, so on every backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

import pipeline
from shared.component.layout import Layout
from shared.pipeline.backends.container import environment
from shared.pipeline.backends.launcher import Job, Tree
from shared.pipeline.backends.processes import ProcessLauncher
from shared.pipeline.compiler import definition
from shared.pipeline.settings import Settings
from shared.pipeline.tests.container_jobs import processing_job

ADDRESS = "arn:aws:sagemaker:us-east-1:000000000000:mlflow-tracking-server/one"


def train_request(build: Any = pipeline.build, **environ: str) -> dict[str, Any]:
    settings = Settings.from_environ(environ)
    steps = json.loads(definition(build(settings, "scenes"), settings))["Steps"]
    (request,) = [s["Arguments"] for s in steps if s["Type"] in ("Training", "Tuning")]
    found: dict[str, Any] = request
    return found


def test_a_training_is_told_address_and_the_problems_name() -> None:
    request = train_request(MLFLOW_TRACKING_URI=ADDRESS)
    expected = {"MLFLOW_TRACKING_URI": ADDRESS, "MLFLOW_EXPERIMENT_NAME": "scenes"}
    assert request["Environment"] == expected
    named = train_request(MLFLOW_TRACKING_URI=ADDRESS, MLFLOW_EXPERIMENT_NAME="mine")
    assert named["Environment"]["MLFLOW_EXPERIMENT_NAME"] == "mine"


def test_without_an_address_nothing_is_said() -> None:
    assert "Environment" not in train_request(MLFLOW_EXPERIMENT_NAME="mine")


def test_a_trial_of_a_search_makes_no_version_of_the_model() -> None:
    request = train_request(pipeline.build_search, MLFLOW_TRACKING_URI=ADDRESS)
    told = request["TrainingJobDefinition"]["Environment"]
    assert told["MLFLOW_REGISTERED_MODEL"] == ""
    assert told["MLFLOW_TRACKING_URI"] == ADDRESS
    shapes = botocore.session.get_session().get_service_model("sagemaker")
    shape = shapes.shape_for("HyperParameterTrainingJobDefinition").members["Environment"]
    assert not ParamValidator().validate(told, shape).has_errors()


def test_a_database_is_named_by_its_whole_path_since_a_job_has_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = Settings.from_environ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}).tracking_uri
    assert uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert Settings.from_environ({"MLFLOW_TRACKING_URI": uri}).tracking_uri == uri


@pytest.mark.parametrize("backend", ["local", "docker"])
def test_a_training_knows_the_name_of_its_job_as_on_sagemaker(backend: str, tmp_path: Path) -> None:
    job = processing_job(tmp_path)
    request = {"AlgorithmSpecification": {}, "Environment": {"MLFLOW_TRACKING_URI": ADDRESS}}
    training = Job(**{**vars(job), "request": request})
    for each, is_told in ((job, False), (training, True)):
        found = _environment(backend, each, tmp_path)
        assert (found.get("TRAINING_JOB_NAME") == each.name) is is_told
        assert (found.get("MLFLOW_TRACKING_URI") == ADDRESS) is is_told


def _environment(backend: str, job: Job, folder: Path) -> dict[str, str]:
    tree = Tree("algo-1", Layout(folder), (), folder / "s3")
    if backend == "docker":
        return environment(job, tree, {})
    return ProcessLauncher({})._environment(job, tree)
