"""What a resolved tuning request asks for, and where a search of it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.component.layout import LOGS_VARIABLE
from shared.component.spec import ComponentSpec
from shared.pipeline.backends.study import as_text, distributions, within

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A resolved tuning request, and where it runs.

    first: values of the first trial, the ones that one had before.
    threads: cores for all trials together. key: of the study.
    """

    execution: str
    step: str
    spec: ComponentSpec
    request: Json
    folder: Path
    home: Path
    root: Path
    threads: int
    key: str
    code: str
    first: Mapping[str, str]

    @property
    def job(self) -> str:
        return f"{self.execution}-{self.step}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def study(self) -> Path:
        return self.home / "studies" / self.key

    @property
    def config(self) -> Json:
        config: Json = self.request["HyperParameterTuningJobConfig"]
        return config

    @property
    def objective(self) -> str:
        return str(self.config["HyperParameterTuningJobObjective"]["MetricName"])

    @property
    def sign(self) -> int:
        return 1 if self.config["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else -1

    @property
    def trials(self) -> int:
        return int(self.config["ResourceLimits"]["MaxNumberOfTrainingJobs"])

    @property
    def workers(self) -> int:
        asked = int(self.config["ResourceLimits"]["MaxParallelTrainingJobs"])
        return max(1, min(asked, self.threads, self.trials))

    @property
    def first_trial(self) -> dict[str, str]:
        """What one had before, as far as the space has it; a random search begins with nothing."""
        if self.config["Strategy"] == "Random":
            return {}
        space = distributions(self.config["ParameterRanges"])
        return {name: as_text(value) for name, value in within(self.first, space)}

    @property
    def most_failures(self) -> int:
        """So many trials may fail; with one more the search is thought to be set up wrongly."""
        return max(2, self.trials // 2)

    def trial_request(self, parameters: Mapping[str, str]) -> Json:
        return trial_request(self.request, parameters)

    def model(self, job: str) -> str:
        """Return the URI of the model that a trial's job leaves."""
        return f"{_trainings(self.request)}/{job}/output/model.tar.gz"

    @property
    def record(self) -> str:
        return f"{_trainings(self.request)}/{self.job}/trials.json"


def trial_request(request: Json, parameters: Mapping[str, str]) -> Json:
    """Return the CreateTrainingJob request of one trial of a resolved tuning request.

    Here a training's TensorBoard logs have a place of their own, so that nobody unpacks them.
    """
    definition = dict(request["TrainingJobDefinition"])
    fixed = definition.pop("StaticHyperParameters", {})
    environment = dict(definition.pop("Environment", {}))
    if environment.pop(LOGS_VARIABLE, None):
        place = f"{_trainings(request).rpartition('/')[0]}/tensorboard"
        logs = {"S3OutputPath": place, "LocalPath": "/opt/ml/output/tensorboard"}
        definition["TensorBoardOutputConfig"] = logs
    definition |= {"Environment": environment} if environment else {}
    return definition | {"HyperParameters": {**fixed, **parameters}}


def study_key(base: str, request: Json) -> str:
    """Return the key of a request's study, whatever the number of trials.

    base: covers code, inputs and fixed values.
    """
    config = dict(request["HyperParameterTuningJobConfig"])
    del config["ResourceLimits"]
    identity = json.dumps([base, config], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _trainings(request: Json) -> str:
    return str(request["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
