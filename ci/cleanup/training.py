"""What training leaves: executions, jobs and their logs, model packages, group, pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ci.cleanup.inventory import Aws, Item, Kind, is_gone, tags_from

_RUNNING = ("Executing", "Stopping")
_ENDED_JOBS = ("Completed", "Failed", "Stopped", "DeleteFailed")
_JOB_LOGS = ("/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs")


def kinds(aws: Aws) -> list[Kind]:
    return [
        Executions(aws),
        Searches(aws),
        Jobs(aws, "Processing"),
        Jobs(aws, "Training"),
        JobLogs(aws),
    ]


def registry_kinds(aws: Aws) -> list[Kind]:
    return [Packages(aws), Groups(aws), Pipelines(aws)]


@dataclass(frozen=True)
class Executions:
    """Running executions of the pipeline; those that ended go with it."""

    aws: Aws
    name: str = "pipeline execution"

    def items(self) -> Iterator[Item]:
        for summary in _executions(self.aws):
            if summary["PipelineExecutionStatus"] in _RUNNING:
                arn, start = summary["PipelineExecutionArn"], summary["StartTime"]
                yield Item(arn, created=start, monthly_usd=None)

    def delete(self, item: Item) -> None:
        client = self.aws.client("sagemaker")
        client.stop_pipeline_execution(PipelineExecutionArn=item.id, ClientRequestToken=_token())

        def is_stopped() -> bool:
            answer = client.describe_pipeline_execution(PipelineExecutionArn=item.id)
            return answer["PipelineExecutionStatus"] not in _RUNNING

        self.aws.wait_until(is_stopped, item.id)


@dataclass(frozen=True)
class Jobs:
    """Jobs of our executions, which SageMaker names pipelines-EXECUTION-STEP-RANDOM."""

    aws: Aws
    type: str

    @property
    def name(self) -> str:
        return f"{self.type.lower()} job"

    def items(self) -> Iterator[Item]:
        ours = _execution_ids(self.aws)
        listing = f"list_{self.type.lower()}_jobs", f"{self.type}JobSummaries"
        for job in self.aws.pages("sagemaker", *listing, NameContains="pipelines-"):
            if job[f"{self.type}JobName"].split("-")[1] in ours:
                is_ended = job[f"{self.type}JobStatus"] in _ENDED_JOBS
                yield Item(
                    job[f"{self.type}JobName"],
                    size=job[f"{self.type}JobStatus"],
                    created=job["CreationTime"],
                    monthly_usd=0.0 if is_ended else None,
                )

    def delete(self, item: Item) -> None:
        client, job = self.aws.client("sagemaker"), {f"{self.type}JobName": item.id}
        call = self.type.lower()

        def is_ended() -> bool:
            answer = getattr(client, f"describe_{call}_job")(**job)
            return answer[f"{self.type}JobStatus"] in _ENDED_JOBS

        if not is_ended():
            getattr(client, f"stop_{call}_job")(**job)
            self.aws.wait_until(is_ended, item.id)
        getattr(client, f"delete_{call}_job")(**job)


@dataclass(frozen=True)
class Searches:
    """Tuning jobs of our executions with their trials; an execution's steps tell their names."""

    aws: Aws
    name: str = "tuning job"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("sagemaker")
        for name in _search_names(self.aws):
            try:
                job = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            except ClientError as err:
                if is_gone(err):  # the steps name it still
                    continue
                raise
            status = job["HyperParameterTuningJobStatus"]
            cost = 0.0 if status in _ENDED_JOBS else None
            yield Item(name, size=status, created=job["CreationTime"], monthly_usd=cost)

    def delete(self, item: Item) -> None:
        client, job = self.aws.client("sagemaker"), {"HyperParameterTuningJobName": item.id}

        def is_ended() -> bool:
            answer = client.describe_hyper_parameter_tuning_job(**job)
            return answer["HyperParameterTuningJobStatus"] in _ENDED_JOBS

        if not is_ended():
            client.stop_hyper_parameter_tuning_job(**job)
            self.aws.wait_until(is_ended, item.id)
        listing = "list_training_jobs_for_hyper_parameter_tuning_job", "TrainingJobSummaries"
        for trial in list(self.aws.pages("sagemaker", *listing, **job)):
            client.delete_training_job(TrainingJobName=trial["TrainingJobName"])
        client.delete_hyper_parameter_tuning_job(**job)


@dataclass(frozen=True)
class JobLogs:
    """Our jobs' streams in log groups that all jobs of the account share."""

    aws: Aws
    name: str = "job log"

    def items(self) -> Iterator[Item]:
        for execution in sorted(_execution_ids(self.aws)):
            for group in _JOB_LOGS:
                yield from self._streams(group, f"pipelines-{execution}-")
        for search in _search_names(self.aws):  # trials are named by it
            yield from self._streams(_JOB_LOGS[1], f"{search}-")

    def _streams(self, group: str, prefix: str) -> Iterator[Item]:
        request = {"logGroupName": group, "logStreamNamePrefix": prefix}
        try:
            for stream in self.aws.pages("logs", "describe_log_streams", "logStreams", **request):
                yield Item(f"{group}:{stream['logStreamName']}")
        except ClientError as err:
            if not is_gone(err):  # no job ever ran in this account
                raise

    def delete(self, item: Item) -> None:
        group, _, stream = item.id.partition(":")
        self.aws.client("logs").delete_log_stream(logGroupName=group, logStreamName=stream)


@dataclass(frozen=True)
class Packages:
    """Versions in our model package groups; a version has no tags, its group has."""

    aws: Aws
    name: str = "model package"

    def items(self) -> Iterator[Item]:
        for group in Groups(self.aws).items():
            for package in self.aws.pages(
                "sagemaker",
                "list_model_packages",
                "ModelPackageSummaryList",
                ModelPackageGroupName=group.id,
            ):
                status = package.get("ModelApprovalStatus", "")
                yield Item(package["ModelPackageArn"], status, package["CreationTime"])

    def delete(self, item: Item) -> None:
        self.aws.client("sagemaker").delete_model_package(ModelPackageName=item.id)


@dataclass(frozen=True)
class Groups:
    aws: Aws
    name: str = "model package group"

    def items(self) -> Iterator[Item]:
        for group in self.aws.pages(
            "sagemaker",
            "list_model_package_groups",
            "ModelPackageGroupSummaryList",
            NameContains=self.aws.scope.name,
        ):
            name, arn = group["ModelPackageGroupName"], group["ModelPackageGroupArn"]
            if _is_ours(self.aws, name, arn):
                yield Item(name, created=group["CreationTime"])

    def delete(self, item: Item) -> None:
        self.aws.client("sagemaker").delete_model_package_group(ModelPackageGroupName=item.id)


@dataclass(frozen=True)
class Pipelines:
    aws: Aws
    name: str = "pipeline"

    def items(self) -> Iterator[Item]:
        for pipeline in _pipelines(self.aws):
            yield Item(pipeline["PipelineName"], created=pipeline["CreationTime"])

    def delete(self, item: Item) -> None:
        client = self.aws.client("sagemaker")
        client.delete_pipeline(PipelineName=item.id, ClientRequestToken=_token())


def _pipelines(aws: Aws) -> Iterator[dict[str, Any]]:
    request = {"PipelineNamePrefix": aws.scope.name}
    for pipeline in aws.pages("sagemaker", "list_pipelines", "PipelineSummaries", **request):
        name, arn = pipeline["PipelineName"], pipeline["PipelineArn"]
        if _is_ours(aws, name, arn) or (name == aws.scope.name and _is_upserted(aws, name, arn)):
            yield pipeline


def _executions(aws: Aws) -> Iterator[dict[str, Any]]:
    listing = "list_pipeline_executions", "PipelineExecutionSummaries"
    for pipeline in _pipelines(aws):
        yield from aws.pages("sagemaker", *listing, PipelineName=pipeline["PipelineName"])


def _search_names(aws: Aws) -> Iterator[str]:
    client = aws.client("sagemaker")
    listing = "list_pipeline_execution_steps", "PipelineExecutionSteps"
    for execution in _executions(aws):
        request = {"PipelineExecutionArn": execution["PipelineExecutionArn"]}
        definition = client.describe_pipeline_definition_for_execution(**request)
        if '"Tuning"' not in definition["PipelineDefinition"]:
            continue
        for step in aws.pages("sagemaker", *listing, **request):
            if job := step.get("Metadata", {}).get("TuningJob"):
                yield job["Arn"].rpartition("/")[2]


def _execution_ids(aws: Aws) -> set[str]:
    return {e["PipelineExecutionArn"].rpartition("/")[2] for e in _executions(aws)}


def _is_ours(aws: Aws, name: str, arn: str) -> bool:
    """Tell whether a resource of SageMaker is ours; its tags are asked for only by name."""
    if not aws.scope.has_name(name):
        return False
    return aws.scope.owns(name, tags_from(_tags(aws, arn)))


def _is_upserted(aws: Aws, name: str, arn: str) -> bool:
    """Tell whether pipeline.py made it, which knows its name and no other project's."""
    return tags_from(_tags(aws, arn)).get("pipeline") == name


def _tags(aws: Aws, arn: str) -> Iterator[dict[str, str]]:
    return aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn)


def _token() -> str:
    """Return a token of its own for each request: one made anew may have an old one's name."""
    return str(uuid.uuid4())
