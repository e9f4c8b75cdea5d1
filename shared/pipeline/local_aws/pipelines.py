"""SageMaker's pipelines and executions, as the local backend left them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.component.port import ParameterValue
from shared.pipeline.execution import Execution, StepRecord, local_arn
from shared.pipeline.local_aws.call import (
    Call,
    Json,
    Operations,
    is_ascending,
    is_within,
    moment,
    paged,
    without_empty,
)
from shared.pipeline.local_aws.errors import missing
from shared.pipeline.local_aws.executions import Executions
from shared.pipeline.settings import NO_ACCOUNT

_STATUSES = ("Executing", "Stopping", "Stopped", "Succeeded", "Failed")


@dataclass(frozen=True)
class Pipelines:
    """Describes and lists; starts.py starts and stops."""

    executions: Executions

    @property
    def operations(self) -> Operations:
        return {
            "DescribePipeline": self.describe,
            "ListPipelines": self.list,
            "ListPipelineExecutions": self.list_executions,
            "DescribePipelineExecution": self.describe_execution,
            "ListPipelineExecutionSteps": self.list_steps,
            "ListPipelineParametersForExecution": self.list_parameters,
        }

    def describe(self, call: Call) -> Json:
        name = call.name("PipelineName")
        file = self.executions.definition_file(name)
        if not file.is_file():
            raise self._missing(name)
        summary = self._summary(name)
        run = {"LastRunTime": summary.pop("LastExecutionTime", None)}
        more = {"PipelineDefinition": file.read_text(), "PipelineStatus": "Active"}
        return without_empty({**summary, **run, **more})

    def list(self, call: Call) -> Json:
        prefix = call.text("PipelineNamePrefix", "")
        by = call.one_of("SortBy", "CreationTime", ("CreationTime", "Name"))
        member = {"CreationTime": "CreationTime", "Name": "PipelineName"}[by]
        names = [name for name in self.executions.pipelines() if name.startswith(prefix)]
        found = [
            each for each in map(self._summary, names) if is_within(call, each["CreationTime"])
        ]
        found.sort(key=lambda each: str(each[member]) if by == "Name" else each[member])
        if not is_ascending(call, "Descending"):
            found.reverse()
        page, more = paged(call, found, lambda each: str(each["PipelineName"]))
        return {"PipelineSummaries": list(page), **more}

    def list_executions(self, call: Call) -> Json:
        name = call.name("PipelineName")
        found = self.executions.of(name)
        if not found and not self.executions.definition_file(name).is_file():
            raise self._missing(name)
        by = call.one_of("SortBy", "CreationTime", ("CreationTime", "PipelineExecutionArn"))
        if by == "PipelineExecutionArn":
            found.sort(key=lambda execution: execution.arn, reverse=True)
        if is_ascending(call, "Descending"):
            found.reverse()
        found = [each for each in found if is_within(call, moment(each.start))]
        page, more = paged(call, found, lambda execution: execution.arn)
        return {"PipelineExecutionSummaries": list(map(self._execution_summary, page)), **more}

    def describe_execution(self, call: Call) -> Json:
        execution = self.executions.find(call.text("PipelineExecutionArn"))
        told = self.executions.started(execution.arn)
        changes = [execution.start, execution.end]
        changes += [t for step in execution.steps.values() for t in (step.start, step.end)]
        return without_empty(
            {
                "PipelineArn": execution.arn.partition("/execution/")[0],
                "PipelineExecutionArn": execution.arn,
                "PipelineExecutionStatus": execution.status,
                "PipelineExecutionDisplayName": told.get("PipelineExecutionDisplayName"),
                "PipelineExecutionDescription": told.get("PipelineExecutionDescription"),
                "FailureReason": execution.reason,
                "CreationTime": moment(execution.start),
                "LastModifiedTime": max(moment(text) for text in changes if text),
            }
        )

    def list_steps(self, call: Call) -> Json:
        """List the steps that have begun: SageMaker tells of no other."""
        execution = self.executions.find(call.text("PipelineExecutionArn"))
        begun = [step for step in execution.steps.values() if step.status in _STATUSES]
        begun.sort(key=lambda step: step.start)
        if not is_ascending(call, "Descending"):
            begun.reverse()
        page, more = paged(call, begun, lambda step: step.name)
        is_stopping = execution.status == "Stopping"
        steps = [self._step(step, is_stopping) for step in page]
        return {"PipelineExecutionSteps": steps, **more}

    def list_parameters(self, call: Call) -> Json:
        execution = self.executions.find(call.text("PipelineExecutionArn"))
        values = [
            {"Name": name, "Value": _text(value)} for name, value in execution.parameters.items()
        ]
        page, more = paged(call, values, lambda value: value["Name"])
        return {"PipelineParameters": list(page), **more}

    def _summary(self, name: str) -> Json:
        changed = self.executions.definition_file(name).stat().st_mtime
        runs = [moment(execution.start) for execution in self.executions.of(name)]
        return without_empty(
            {
                "PipelineArn": local_arn("pipeline", name, self.executions.region),
                "PipelineName": name,
                "PipelineDisplayName": name,
                "RoleArn": f"arn:aws:iam::{NO_ACCOUNT}:role/visionloop",
                # The file is written anew by every change: its first run is older than that.
                "CreationTime": min([changed, *runs]),
                "LastModifiedTime": changed,
                "LastExecutionTime": max(runs, default=None),
            }
        )

    def _execution_summary(self, execution: Execution) -> Json:
        told = self.executions.started(execution.arn)
        return without_empty(
            {
                "PipelineExecutionArn": execution.arn,
                "StartTime": moment(execution.start),
                "PipelineExecutionStatus": execution.status,
                "PipelineExecutionDisplayName": told.get("PipelineExecutionDisplayName"),
                "PipelineExecutionDescription": told.get("PipelineExecutionDescription"),
                "PipelineExecutionFailureReason": execution.reason,
            }
        )

    def _step(self, step: StepRecord, is_stopping: bool) -> Json:
        is_running = step.status == "Executing"
        answer = {
            "StepName": step.name,
            "StepDisplayName": step.name,
            "StepStatus": "Stopping" if is_running and is_stopping else step.status,
            "StartTime": moment(step.start) if step.start else None,
            "EndTime": moment(step.end) if step.end else None,
            "FailureReason": step.reason,
            "Metadata": self._metadata(step) or None,
        }
        if step.cached_from:
            answer["CacheHitResult"] = {"SourcePipelineExecutionArn": step.cached_from}
        return without_empty(answer)

    def _metadata(self, step: StepRecord) -> Json:
        """Return the one entry that is named for the step's type."""
        if step.type in ("Processing", "Training"):
            job = self.executions.job_of(step)
            return {f"{step.type}Job": {"Arn": self.executions.job_arn(job)}} if job else {}
        if step.type == "Tuning":
            job = self.executions.job_of(step)
            return {"TuningJob": {"Arn": self.executions.job_arn(job)}} if job else {}
        if step.type == "RegisterModel":
            return {"RegisterModel": {"Arn": step.job}} if step.job else {}
        if step.type == "Condition":
            return {"Condition": without_empty({"Outcome": step.outcome})}
        return {"Fail": {"ErrorMessage": step.reason}} if step.type == "Fail" else {}

    def _missing(self, name: str) -> Exception:
        arn = local_arn("pipeline", name, self.executions.region)
        return missing(f"Pipeline '{arn}' does not exist.")


def _text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
