"""Run pipelines on SageMaker through a boto3 client."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.component.port import ParameterValue
from shared.pipeline.backends.base import Watcher
from shared.pipeline.execution import ENDED, Execution, StepRecord
from shared.pipeline.registry import SageMakerRegistry, is_missing
from shared.pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import TagTypeDef

Json = dict[str, Any]
_POLL_S = 15.0  # a step takes minutes; the API allows few calls a second for an account


@dataclass(frozen=True)
class SageMakerBackend:
    """SageMaker Pipelines; `pause` waits between two looks at an execution."""

    client: SageMakerClient
    settings: Settings
    pause: Callable[[float], None] = time.sleep

    @property
    def registry(self) -> SageMakerRegistry:
        return SageMakerRegistry(self.client)

    def upsert(self, name: str, definition: str) -> str:
        request: Json = {
            "PipelineName": name,
            "PipelineDefinition": definition,
            "RoleArn": self.settings.role,
        }
        try:
            known = self.client.describe_pipeline(PipelineName=name)
        except self.client.exceptions.ClientError as err:
            if not is_missing(err):
                raise
            tags: list[TagTypeDef] = [
                {"Key": key, "Value": value} for key, value in self.settings.tags(name).items()
            ]
            token = str(uuid.uuid4())
            self.client.create_pipeline(**request, Tags=tags, ClientRequestToken=token)
            return "created"
        is_same = json.loads(known["PipelineDefinition"]) == json.loads(definition)
        if is_same and known.get("RoleArn") == self.settings.role:
            return "unchanged"
        self.client.update_pipeline(**request)
        return "updated"

    def start(
        self, name: str, parameters: Mapping[str, ParameterValue], watch: Watcher
    ) -> Execution:
        answer = self.client.start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[
                {"Name": parameter, "Value": _text(value)}
                for parameter, value in parameters.items()
            ],
            ClientRequestToken=str(uuid.uuid4()),
        )
        execution = Execution(name, answer["PipelineExecutionArn"], parameters=dict(parameters))
        watch(execution)
        return execution

    def wait(self, execution: Execution, watch: Watcher) -> Execution:
        """Follow an execution however long it takes; Ctrl-C stops looking, not the execution."""
        while True:
            current = self.describe(execution.pipeline, execution.arn)
            watch(current)
            if current.status in ENDED:
                return current
            self.pause(_POLL_S)

    def list(self, name: str) -> list[Execution]:
        pages = self.client.get_paginator("list_pipeline_executions").paginate(PipelineName=name)
        return [
            Execution(
                name,
                summary["PipelineExecutionArn"],
                summary["PipelineExecutionStatus"],
                summary.get("PipelineExecutionFailureReason", ""),
                str(summary["StartTime"]),
                process_id=0,
            )
            for page in pages
            for summary in page["PipelineExecutionSummaries"]
        ]

    def describe(self, name: str, execution_id: str) -> Execution:
        arn = execution_id
        if not arn.startswith("arn:"):
            pipeline = self.client.describe_pipeline(PipelineName=name)["PipelineArn"]
            arn = f"{pipeline}/execution/{execution_id}"
        answer = self.client.describe_pipeline_execution(PipelineExecutionArn=arn)
        pages = self.client.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        steps = [_step(dict(step)) for page in pages for step in page["PipelineExecutionSteps"]]
        return Execution(
            name,
            arn,
            answer["PipelineExecutionStatus"],
            answer.get("FailureReason", ""),
            str(answer["CreationTime"]),
            steps={step.name: step for step in steps},
            process_id=0,
        )


def _step(body: Json) -> StepRecord:
    metadata: Json = body.get("Metadata", {})
    kind = next(iter(metadata), "")  # one entry, named for the step's type
    job: Json = metadata.get(kind, {})
    hit: Json = body.get("CacheHitResult", {})
    return StepRecord(
        name=body["StepName"],
        type=kind,
        status="Waiting" if body["StepStatus"] == "Starting" else body["StepStatus"],
        start=_iso(body.get("StartTime")),
        end=_iso(body.get("EndTime")),
        reason=body.get("FailureReason", ""),
        cached_from=hit.get("SourcePipelineExecutionArn", ""),
        job=job.get("Arn", ""),
        outcome=job.get("Outcome", ""),
    )


def _iso(moment: Any) -> str:
    return moment.isoformat() if moment else ""


def _text(value: ParameterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
