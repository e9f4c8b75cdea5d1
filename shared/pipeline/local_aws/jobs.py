"""SageMaker's processing and training jobs: what a step ran, and where its outputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.pipeline.backends.interpreter import nodes_of
from shared.pipeline.backends.resolve import Scope, read_json_file
from shared.pipeline.backends.store import Store
from shared.pipeline.local_aws.call import Call, Json, Operations, moment, without_empty
from shared.pipeline.local_aws.errors import invalid
from shared.pipeline.local_aws.executions import Executions, Job
from shared.pipeline.settings import NO_ACCOUNT

_STATUSES = {"Executing": "InProgress", "Succeeded": "Completed", "Waiting": "InProgress"}
# A request's members that name nothing but parameters and the execution: what refers to
# other steps would need their answers, which nobody has kept.
_PROCESSING = ("ProcessingResources", "ProcessingOutputConfig", "StoppingCondition")
_TRAINING = ("ResourceConfig", "OutputDataConfig", "StoppingCondition", "TensorBoardOutputConfig")


@dataclass(frozen=True)
class Jobs:
    """Describes jobs."""

    executions: Executions
    store: Store

    @property
    def operations(self) -> Operations:
        return {
            "DescribeProcessingJob": self.describe_processing,
            "DescribeTrainingJob": self.describe_training,
        }

    def describe_processing(self, call: Call) -> Json:
        job = self._find(call.name("ProcessingJobName"), "Processing")
        request = self._request(job)
        app = request["AppSpecification"]
        times = {"ProcessingStartTime": job.step.start, "ProcessingEndTime": job.step.end}
        return without_empty(
            {
                **self._resolved(job, request, _PROCESSING),
                "AppSpecification": {
                    name: app[name] for name in ("ImageUri", "ContainerEntrypoint") if name in app
                },
                "ProcessingJobName": job.name,
                "ProcessingJobArn": self.executions.job_arn(job),
                "ProcessingJobStatus": _status(job),
                "RoleArn": f"arn:aws:iam::{NO_ACCOUNT}:role/visionloop",
                **_told(job, times),
            }
        )

    def describe_training(self, call: Call) -> Json:
        job = self._find(call.name("TrainingJobName"), "Training")
        request = self._request(job)
        known = self._resolved(job, request, _TRAINING)
        # As the local backend publishes it, and as SageMaker does.
        place = f"{known['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output"
        status = _status(job)
        times = {"TrainingStartTime": job.step.start, "TrainingEndTime": job.step.end}
        return without_empty(
            {
                **known,
                "AlgorithmSpecification": {
                    "TrainingImage": request["AlgorithmSpecification"]["TrainingImage"],
                    "TrainingInputMode": "File",
                },
                "TrainingJobName": job.name,
                "TrainingJobArn": self.executions.job_arn(job),
                "TrainingJobStatus": status,
                "SecondaryStatus": "Training" if status == "InProgress" else status,
                "ModelArtifacts": {"S3ModelArtifacts": f"{place}/model.tar.gz"},
                **_told(job, times),
            }
        )

    def _find(self, name: str, kind: str) -> Job:
        job = self.executions.job(name)
        if job is None or job.step.type != kind:
            raise invalid(f"Could not find requested job with name: {name}")
        return job

    def _request(self, job: Job) -> Json:
        nodes = nodes_of(self.executions.definition(job.folder))
        (body,) = [node.body for node in nodes if node.name == job.step.name]
        arguments: Json = body["Arguments"]
        return arguments

    def _resolved(self, job: Job, request: Json, names: tuple[str, ...]) -> Json:
        execution = job.execution
        variables = {
            "PipelineName": execution.pipeline,
            "PipelineArn": execution.arn.partition("/execution/")[0],
            "PipelineExecutionId": execution.id,
            "PipelineExecutionArn": execution.arn,
            "StartDateTime": execution.start,
            "CurrentDateTime": execution.start,
        }
        scope = Scope(execution.parameters, variables, self._read)
        return {name: scope.resolve(request[name]) for name in names if name in request}

    def _read(self, uri: str) -> Any:
        return read_json_file(self.store.path(uri), uri)


def _status(job: Job) -> str:
    return _STATUSES.get(job.step.status, job.step.status)


def _told(job: Job, times: dict[str, str]) -> Json:
    last = job.step.end or job.step.start
    return {
        **{name: moment(text) for name, text in times.items() if text},
        "CreationTime": moment(job.step.start),
        "LastModifiedTime": moment(last),
        "FailureReason": job.step.reason,
    }
