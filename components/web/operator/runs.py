"""Runs of the pipeline: what SageMaker says of executions and their steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from components.web.errors import NotFound
from components.web.operator.asking import PAGES, asking
from components.web.operator.definition import Definition
from components.web.operator.run_records import (
    ENDED,
    Gate,
    Gates,
    Run,
    RunPage,
    RunSummary,
    Step,
)
from shared.component.object_store import open_store

_WHERE = "runs"
_JOBS = ("ProcessingJob", "TrainingJob")  # what has a log of its own
_MOST_LOOKED_AT = 20  # runs that are searched for a report
# Of pipeline.py: what measures a model, and where it writes what the gates read.
_MEASURE, _METRICS, _FILE = "Evaluate", "metrics", "evaluation.json"


class Runs:
    """Executions of one pipeline.

    clock: seconds since the epoch.
    """

    def __init__(self, sagemaker: Any, s3: Any, pipeline: str, clock: Callable[[], float]) -> None:
        self._client = sagemaker
        self._s3 = s3
        self._clock = clock
        self.pipeline = pipeline
        self._arn = ""

    def list(self, limit: int = 20, after: str | None = None) -> RunPage:
        """Return a page of runs, the newest first.

        Raises:
            WebError: there is no such pipeline, or SageMaker does not answer.
        """
        page = {"NextToken": after} if after else {}
        with asking(_WHERE, self._no_pipeline):
            answer = self._client.list_pipeline_executions(
                PipelineName=self.pipeline,
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=limit,
                **page,
            )
        runs = [_summary(found) for found in answer["PipelineExecutionSummaries"]]
        return RunPage(pipeline=self.pipeline, runs=runs, after=answer.get("NextToken"))

    def get(self, run: str) -> Run:
        """Return a run with its steps, parameters and gates.

        Raises:
            WebError: there is no such run, or SageMaker does not answer.
        """
        arn = self.arn(run)
        with asking(_WHERE, f"run {run} is not there; the list of runs has those that are"):
            said = self._client.describe_pipeline_execution(PipelineExecutionArn=arn)
            given = self._pages("list_pipeline_parameters_for_execution", arn, "PipelineParameters")
        steps = self.steps(run)
        status = said["PipelineExecutionStatus"]
        begun, is_over = said.get("CreationTime"), status in ENDED
        ended = said.get("LastModifiedTime") if is_over else None
        return Run(
            id=run,
            name=said.get("PipelineExecutionDisplayName", ""),
            status=status,
            reason=said.get("FailureReason", ""),
            started=begun,
            ended=ended,
            seconds=self._seconds(begun, ended, is_over),
            parameters={item["Name"]: item["Value"] for item in given},
            steps=self._placed(steps, is_over),
            gates=self._gates(steps),
        )

    def newest_parameters(self) -> tuple[str, dict[str, str]]:
        """Return the newest run and what it was told; "" and nothing while there is none."""
        newest = next(iter(self.list(1).runs), None)
        if newest is None:
            return "", {}
        with asking(_WHERE, f"run {newest.id} is not there any more"):
            arn = self.arn(newest.id)
            given = self._pages("list_pipeline_parameters_for_execution", arn, "PipelineParameters")
        return newest.id, {item["Name"]: item["Value"] for item in given}

    def steps(self, run: str) -> list[Step]:
        """Return the steps that have begun, in the order they did."""
        with asking(_WHERE, f"run {run} is not there; the list of runs has those that are"):
            found = self._pages(
                "list_pipeline_execution_steps",
                self.arn(run),
                "PipelineExecutionSteps",
                SortOrder="Ascending",
            )
        return [self._step(each) for each in found]

    def stop(self, run: str, token: str) -> None:
        """Ask SageMaker to stop a run; token: makes two requests one."""
        with asking(_WHERE, f"run {run} is not there; the list of runs has those that are"):
            self._client.stop_pipeline_execution(
                PipelineExecutionArn=self.arn(run), ClientRequestToken=token
            )

    def start(self, parameters: Mapping[str, str], token: str) -> str:
        """Start a run and return its id; the same token again starts nothing."""
        with asking(_WHERE, self._no_pipeline):
            answer = self._client.start_pipeline_execution(
                PipelineName=self.pipeline,
                PipelineParameters=[{"Name": n, "Value": v} for n, v in parameters.items()],
                ClientRequestToken=token,
            )
        return str(answer["PipelineExecutionArn"]).rpartition("/")[2]

    def definition(self) -> Definition:
        """Return what a run that starts now would do."""
        with asking(_WHERE, self._no_pipeline):
            return Definition.parse(
                self._client.describe_pipeline(PipelineName=self.pipeline)["PipelineDefinition"]
            )

    def output(self, step: Step, output: str) -> str:
        """Return the S3 URI of a step's output, "" where it cannot be told.

        A cached step left its output where the run put it that it was taken from.
        """
        job = step.job
        if not job and step.cached_from:
            source = (s.job for s in self.steps(step.cached_from) if s.name == step.name)
            job = next(source, "")
        if not job:
            return ""
        with asking(_WHERE, f"job {job} is not there any more"):
            said = self._client.describe_processing_job(ProcessingJobName=job)
        outputs = said.get("ProcessingOutputConfig", {}).get("Outputs", [])
        found = (o["S3Output"]["S3Uri"] for o in outputs if o["OutputName"] == output)
        return next(found, "")

    def newest_output(self, step: str, output: str) -> tuple[str, str]:
        """Return the newest run in which a step succeeded, and the URI of its output.

        Raises:
            WebError: none of the last runs has it, or SageMaker does not answer.
        """
        for run in self.list(_MOST_LOOKED_AT).runs:
            for found in self.steps(run.id):
                is_it = found.name == step and found.status == "Succeeded"
                if is_it and (uri := self.output(found, output)):
                    return run.id, uri
        raise NotFound(f"runs: no run has come past {step} yet; start one, or wait for it")

    def arn(self, run: str) -> str:
        if not self._arn:
            with asking(_WHERE, self._no_pipeline):
                said = self._client.describe_pipeline(PipelineName=self.pipeline)
            self._arn = str(said["PipelineArn"])
        return f"{self._arn}/execution/{run}"

    @property
    def _no_pipeline(self) -> str:
        return (
            f"there is no pipeline {self.pipeline} yet; create it: python pipeline.py --upsert "
            f"--name {self.pipeline}, on a laptop with --backend local"
        )

    def _pages(self, call: str, arn: str, key: str, **more: str) -> list[Mapping[str, Any]]:
        pages = self._client.get_paginator(call).paginate(
            PipelineExecutionArn=arn, PaginationConfig=PAGES, **more
        )
        return [item for page in pages for item in page[key]]

    def _step(self, body: Mapping[str, Any]) -> Step:
        metadata: Mapping[str, Any] = body.get("Metadata", {})
        kind = next(iter(metadata), "")  # one entry, named for the step's type
        details: Mapping[str, Any] = metadata.get(kind, {})
        source = body.get("CacheHitResult", {}).get("SourcePipelineExecutionArn", "")
        begun, ended = body.get("StartTime"), body.get("EndTime")
        status = body["StepStatus"]
        return Step(
            name=body["StepName"],
            kind=kind,
            status=status,
            started=begun,
            ended=ended,
            seconds=self._seconds(begun, ended, status in ENDED),
            reason=body.get("FailureReason", ""),
            cached_from=source.rpartition("/")[2],
            job=details.get("Arn", "").rpartition("/")[2] if kind in _JOBS else "",
            outcome=str(details.get("Outcome", "")),
        )

    def _seconds(
        self, begun: datetime | None, ended: datetime | None, is_over: bool
    ) -> float | None:
        if begun is None or (is_over and ended is None):
            return None
        until = ended or datetime.fromtimestamp(self._clock(), UTC)
        return max(0.0, (until - begun).total_seconds())

    def _placed(self, steps: list[Step], is_over: bool) -> list[Step]:
        """Put the steps in the pipeline's order; while it runs, with those still to come.

        Of a run that is over the pipeline may know other steps by now.
        """
        begun = {step.name: step for step in steps}
        listed = []
        for place in self.definition().places():
            step = begun.pop(place.name, None)
            if step is None and (is_over or place.branch == "else"):
                continue
            step = step or Step(name=place.name, kind=place.kind, status="Waiting")
            listed.append(step.model_copy(update={"branch": place.branch}))
        return [*listed, *begun.values()]

    def _gates(self, steps: list[Step]) -> Gates:
        """Return how the gates decided, with what was measured where that can be read."""
        by_name = {step.name: step for step in steps}
        decided = next((step.outcome for step in steps if step.outcome), "")
        passed = {"true": True, "false": False}.get(decided.lower())
        measured = by_name.get(_MEASURE)
        if measured is None or measured.status != "Succeeded":
            return Gates(passed=passed, note="The gates are looked at after Evaluate.")
        uri = self.output(measured, _METRICS)
        with asking("what the gates read"):
            data = open_store(uri, self._s3).get(_FILE) if uri else None
        if data is None:
            return Gates(passed=passed, note="What was measured is not there any more.")
        results = read_gates(data)
        return Gates(
            passed=all(g.passed for g in results) if passed is None else passed, results=results
        )


def read_gates(data: bytes) -> list[Gate]:
    """Return the gates of an evaluation.json or a package's report.json; [] where damaged."""
    try:
        results = json.loads(data)["gates"]["results"]
        found = [
            Gate(
                metric=each["metric"],
                comparison=each["comparison"],
                value=each["value"],
                threshold=each["threshold"],
                passed=each["passed"],
            )
            for each in results
        ]
    except (ValueError, KeyError, TypeError):
        return []
    return [gate for gate in found if math.isfinite(gate.value)]


def _summary(body: Mapping[str, Any]) -> RunSummary:
    return RunSummary(
        id=body["PipelineExecutionArn"].rpartition("/")[2],
        name=body.get("PipelineExecutionDisplayName", ""),
        status=body["PipelineExecutionStatus"],
        started=body.get("StartTime"),
        reason=body.get("PipelineExecutionFailureReason", ""),
    )
