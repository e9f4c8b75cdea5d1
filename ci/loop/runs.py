"""Training runs: asked for by `retrain`, as on AWS, and run here by the local backend.

moto keeps SageMaker's list of executions. What an execution was started with is what the
local backend runs; the loop adds only how long and how large to train.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.loop.surroundings import ARTIFACTS, DATA, OPERATORS, PIPELINE, LoopError, Place
from ci.packages import LocalPackage, newest_approved
from shared.pipeline.settings import Settings

_PIPELINE_PY = ("pipeline.py", "--name", PIPELINE)
_ANY_GATE = {"MinAccuracy": "0", "MinMacroF1": "0", "MinClassRecall": "0", "MaxRegression": "1"}


@dataclass(frozen=True)
class Comparison:
    """The new model beside the old one on the same frozen test set; shares in [0, 1].

    low, high: 95 % interval of the difference, by bootstrap over the test images.
    """

    images: int
    before: float
    after: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return "the new model is better"
        return "the new model is worse" if self.high < 0 else "no difference is proven"


def create(place: Place) -> None:
    """Bring the pipeline's definition to where `retrain` starts it."""
    place.python(*_PIPELINE_PY, "--upsert", name="upsert")


def look(place: Place, wake: str) -> dict[str, Any]:
    """Wake `retrain`; return what it decided: outcome, reason, and parameters of a start."""
    flags = {
        "data-bucket": DATA,
        "artifacts-bucket": ARTIFACTS,
        "pipeline": PIPELINE,
        "operator-path": OPERATORS,
        "quiet-s": "0",
        "wake": wake,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    said: dict[str, Any] = json.loads(
        place.python("-m", "components.retrain", *words, name="retrain")
    )
    return said


def executions(place: Place) -> list[str]:
    """Return the executions that were started, by their ARNs."""
    pages = (
        place.client("sagemaker")
        .get_paginator("list_pipeline_executions")
        .paginate(PipelineName=PIPELINE)
    )
    return [
        summary["PipelineExecutionArn"]
        for page in pages
        for summary in page["PipelineExecutionSummaries"]
    ]


def parameters_of(place: Place, execution: str) -> dict[str, str]:
    """Return what an execution was started with."""
    answer = place.client("sagemaker").list_pipeline_parameters_for_execution(
        PipelineExecutionArn=execution
    )
    return {item["Name"]: item["Value"] for item in answer["PipelineParameters"]}


def run(place: Place, asked: Mapping[str, str], training: Mapping[str, str]) -> None:
    """Run an execution's parameters on this machine, to its end.

    The gates are open: a model of a few minutes is to be compared, not to be trusted.
    """
    values = {**asked, **training, **_ANY_GATE}
    words = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    place.python(
        *_PIPELINE_PY, "--backend", "local", "--upsert", "--start", *words, name="pipeline"
    )


def approve(place: Place) -> LocalPackage:
    """Approve the newest package, as a person does, and return it."""
    registry = json.loads((place.folder / "home" / "registry.json").read_text())
    arn = registry[-1]["ModelPackageArn"]
    place.python(*_PIPELINE_PY, "--backend", "local", "--approve", arn, name="approve")
    return newest_approved(Settings(home=place.folder / "home"), PIPELINE)


def report_of(place: Place) -> Path:
    """Return the Report folder of the last evaluation.

    Raises:
        LoopError: there was none.
    """
    found = sorted(_evaluations(place), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LoopError(f"loop: no evaluation below {place.folder}; look into pipeline.log")
    return found[-1]


def comparison(place: Place) -> Comparison:
    """Read how the last model stands beside the champion.

    Raises:
        LoopError: they were not compared.
    """
    document = json.loads((report_of(place) / "report.json").read_text())
    champion = document["champion"]
    if "none" in champion:
        raise LoopError(f"loop: the new model was compared with none: {champion['none']}")
    low, high = champion["interval"]
    before = champion["champion_accuracy"]
    return Comparison(document["test_images"], before, before + champion["difference"], low, high)


def _evaluations(place: Place) -> Sequence[Path]:
    return [
        path.parent for path in (place.folder / "home" / "s3").rglob("Evaluate/report/report.json")
    ]
