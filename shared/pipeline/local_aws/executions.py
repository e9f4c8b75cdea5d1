"""Find the local backend's pipelines, executions and steps by SageMaker's ARNs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from shared.component.files import write_json
from shared.pipeline.errors import ExecutionError
from shared.pipeline.execution import ENDED, Execution, StepRecord, local_arn, timestamp
from shared.pipeline.local_aws.call import Json
from shared.pipeline.local_aws.errors import missing

_EXECUTION = re.compile(r"arn:[\w-]+:sagemaker:[\w-]+:\d{12}:pipeline/([\w-]+)/execution/([\w-]+)")
_JOB = re.compile(r"([0-9a-z]+)-([a-zA-Z0-9][a-zA-Z0-9-]*)")
_ARN_KINDS = {
    "Processing": "processing-job",
    "Training": "training-job",
    "Tuning": "hyper-parameter-tuning-job",
}
_STOPPING = "stopping.json"  # in an execution's folder: somebody asked it to stop
STARTED = "started.json"  # beside it: what StartPipelineExecution was told


@dataclass(frozen=True)
class Job:
    """A step that ran as a processing or training job, and the execution that ran it."""

    execution: Execution
    step: StepRecord
    folder: Path

    @property
    def name(self) -> str:
        return self.step.job


@dataclass(frozen=True)
class Executions:
    """What lies below <home>/pipelines and <home>/executions."""

    home: Path
    region: str

    def definition_file(self, pipeline: str) -> Path:
        return self.home / "pipelines" / f"{pipeline}.json"

    def pipelines(self) -> list[str]:
        """Return the names of the pipelines that were upserted."""
        return sorted(path.stem for path in (self.home / "pipelines").glob("*.json"))

    def of(self, pipeline: str) -> list[Execution]:
        """Return a pipeline's executions, the newest first."""
        files = (self.home / "executions" / pipeline).glob("*/execution.json")
        found = [self._load(file.parent) for file in files]
        return sorted(found, key=lambda execution: execution.start, reverse=True)

    def find(self, arn: str) -> Execution:
        """Return an execution.

        Raises:
            ApiError: there is none.
        """
        folder = self.folder(arn)
        if folder is None:
            raise missing(f"Pipeline execution with ARN {arn} does not exist.")
        return self._load(folder)

    def folder(self, arn: str) -> Path | None:
        """Return where an execution lies, None where there is none."""
        parts = _EXECUTION.fullmatch(arn)
        if not parts:
            return None
        folder = self.home / "executions" / parts[1] / parts[2]
        return folder if (folder / "execution.json").is_file() else None

    def definition(self, folder: Path) -> Json:
        """Return the definition that an execution runs."""
        document: Json = json.loads((folder / "definition.json").read_text())
        return document

    def started(self, arn: str) -> Json:
        """Return what StartPipelineExecution was told, empty for `python pipeline.py --start`."""
        folder = self.folder(arn)
        try:
            told: Json = json.loads((folder / STARTED).read_text()) if folder else {}
        except FileNotFoundError:
            return {}
        return told

    def mark_stopping(self, arn: str) -> None:
        """Remember that an execution was asked to stop."""
        if folder := self.folder(arn):
            write_json(folder / _STOPPING, {"Time": timestamp()})

    def job_of(self, step: StepRecord) -> Job | None:
        """Return the job that did a step: of another execution where it came from the cache."""
        if not step.cached_from:
            return self.job(step.job) if step.job else None
        folder = self.folder(step.cached_from)
        if folder is None:
            return None
        source = self._load(folder)
        found = source.steps.get(step.name)
        return Job(source, found, folder) if found and found.job else None

    def job(self, name: str) -> Job | None:
        """Return a job by its name, <execution>-<step>."""
        parts = _JOB.fullmatch(name)
        if not parts:
            return None
        for file in (self.home / "executions").glob(f"*/{parts[1]}/execution.json"):
            execution = self._load(file.parent)
            step = execution.steps.get(parts[2])
            if step and step.job == name:
                return Job(execution, step, file.parent)
        return None

    def job_arn(self, job: Job) -> str:
        return local_arn(_ARN_KINDS[job.step.type], job.name, self.region)

    def _load(self, folder: Path) -> Execution:
        """Read an execution as SageMaker would tell of it.

        Of one whose process is gone no step runs on; one that was asked to stop is Stopping.

        Raises:
            ExecutionError: its file is no execution.
        """
        try:
            execution = Execution.load(folder)
        except (ValueError, KeyError, TypeError) as err:
            raise ExecutionError(
                f"local: {folder / 'execution.json'} is no execution: {err}; move it away"
            ) from err
        execution.steps = {step.name: _with_job(step, folder) for step in execution.steps.values()}
        if execution.status in ENDED:
            return replace(execution, steps=_ended(execution.steps.values()))
        if (folder / _STOPPING).exists():
            return replace(execution, status="Stopping")
        return execution


def _with_job(step: StepRecord, folder: Path) -> StepRecord:
    """Name the job of a step that runs: the file is written before the step has said it."""
    log = folder / step.name / "log.txt"
    if step.job or step.cached_from or not log.is_file():
        return step
    return replace(step, job=f"{folder.name}-{step.name}", log=str(log))


def _ended(steps: Iterable[StepRecord]) -> dict[str, StepRecord]:
    return {
        step.name: replace(step, status="Stopped") if step.status == "Executing" else step
        for step in steps
    }
