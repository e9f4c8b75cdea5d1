"""An AWS account in moto with everything the project makes, for anybody's project and stage.

What moto cannot do, `Patched` does on moto's own state, so that a later listing is true:
DeleteModelPackage, DeleteModelPackageGroup, StopPipelineExecution, DeleteProcessingJob,
DeleteTrainingJob, StopHyperParameterTuningJob, and the listings of an execution's steps and a
search's trials, by names. moto's executions are Succeeded at once; one is set back to Executing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/visionloop"
TEMPLATE = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
STACKS = ("foundation", "registry", "observe")


@cache  # making one takes as long as ten calls
def connect(service: str) -> Any:
    return fresh(service)


def fresh(service: str) -> Any:
    """Return a client of one's own, to bend."""
    client = boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
    return Patched(client) if service == "sagemaker" else client


def backend() -> Any:
    from moto.sagemaker.models import sagemaker_backends

    return sagemaker_backends[ACCOUNT][REGION]


@dataclass
class Patched:
    """moto's SageMaker with what it lacks."""

    client: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_paginator(self, operation: str) -> Any:
        listings = {
            "list_pipeline_execution_steps": _steps,
            "list_training_jobs_for_hyper_parameter_tuning_job": _trials,
        }
        if operation in listings:
            return _Paginator(listings[operation])
        return self.client.get_paginator(operation)

    def stop_hyper_parameter_tuning_job(self, HyperParameterTuningJobName: str) -> None:  # noqa: N803
        search = backend().hyper_parameter_tuning_jobs[HyperParameterTuningJobName]
        search.hyper_parameter_tuning_job_status = "Stopped"

    def delete_model_package(self, ModelPackageName: str) -> None:  # noqa: N803
        state = backend()
        del state.model_packages[ModelPackageName]

    def delete_model_package_group(self, ModelPackageGroupName: str) -> None:  # noqa: N803
        del backend().model_package_groups[ModelPackageGroupName]

    def stop_pipeline_execution(self, PipelineExecutionArn: str, **_: Any) -> None:  # noqa: N803
        execution_of(PipelineExecutionArn).pipeline_execution_status = "Stopped"

    def delete_processing_job(self, ProcessingJobName: str) -> None:  # noqa: N803
        jobs = backend().processing_jobs
        del jobs[next(key for key in jobs if key.endswith(ProcessingJobName))]

    def delete_training_job(self, TrainingJobName: str) -> None:  # noqa: N803
        jobs = backend().training_jobs
        del jobs[next(key for key in jobs if key.endswith(TrainingJobName))]


@dataclass
class _Paginator:
    page: Callable[..., dict[str, Any]]

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        return [self.page(**request)]


def _steps(PipelineExecutionArn: str) -> dict[str, Any]:  # noqa: N803
    """Name the search of an execution, there or gone."""
    name = f"{PipelineExecutionArn.rpartition('/')[2]}-Tune-x"
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name}"
    steps = [{"StepName": "Train"}, {"StepName": "Tune", "Metadata": {"TuningJob": {"Arn": arn}}}]
    return {"PipelineExecutionSteps": steps}


def _trials(HyperParameterTuningJobName: str) -> dict[str, Any]:  # noqa: N803
    jobs = backend().training_jobs.values()
    ours = [j for j in jobs if j.training_job_name.startswith(HyperParameterTuningJobName)]
    return {"TrainingJobSummaries": [{"TrainingJobName": job.training_job_name} for job in ours]}


def execution_of(arn: str) -> Any:
    for pipeline in backend().pipelines.values():
        if arn in pipeline.pipeline_executions:
            return pipeline.pipeline_executions[arn]
    raise KeyError(arn)


@dataclass
class Faulty:
    """Clients of which the n-th call that changes anything raises."""

    error: Callable[[], BaseException]
    at: int
    calls: list[str] = field(default_factory=list)

    def __call__(self, service: str) -> Any:
        return _FaultyClient(connect(service), self)


@dataclass
class _FaultyClient:
    client: Any
    owner: Faulty

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        if not name.startswith(("delete", "stop", "remove", "deregister", "schedule", "abort")):
            return call

        def counted(**request: Any) -> Any:
            self.owner.calls.append(name)
            if len(self.owner.calls) == self.owner.at:
                raise self.owner.error()
            return call(**request)

        return counted


def furnish(name: str, tags: Mapping[str, str]) -> None:
    """Make one of everything under `name`, with these tags."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    _training(name, pairs)
    _serving(name, pairs, tags)
    _stacks(name, pairs, tags)
    _stores(name, pairs, tags)


def _training(name: str, pairs: list[dict[str, str]]) -> None:
    sagemaker, logs = connect("sagemaker"), connect("logs")
    sagemaker.create_pipeline(
        PipelineName=name,
        PipelineDefinition=json.dumps({"Steps": [{"Type": "Tuning"}]}),
        RoleArn=ROLE,
        ClientRequestToken="t" * 32,
        Tags=pairs,
    )
    started = sagemaker.start_pipeline_execution(
        PipelineName=name, ClientRequestToken=f"{name:-<32}"
    )["PipelineExecutionArn"]
    execution_of(started).pipeline_execution_status = "Executing"
    execution = started.rpartition("/")[2]
    job, trial = f"pipelines-{execution}-Train-x", f"{execution}-Tune-x-001"
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    for training_job in (job, trial):
        sagemaker.create_training_job(
            TrainingJobName=training_job,
            AlgorithmSpecification={"TrainingImage": "i", "TrainingInputMode": "File"},
            RoleArn=ROLE,
            OutputDataConfig={"S3OutputPath": "s3://b/o"},
            ResourceConfig=cluster,
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
    _search(f"{execution}-Tune-x")
    sagemaker.create_processing_job(
        ProcessingJobName=job,
        ProcessingResources={"ClusterConfig": cluster},
        AppSpecification={"ImageUri": "i"},
        RoleArn=ROLE,
    )
    group = "/aws/sagemaker/TrainingJobs"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    for training_job in (job, trial):
        logs.create_log_stream(logGroupName=group, logStreamName=f"{training_job}/algo-1")
    sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=pairs)
    sagemaker.create_model_package(
        ModelPackageGroupName=name,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "i", "ModelDataUrl": "s3://b/m"}],
            "SupportedContentTypes": ["a/b"],
            "SupportedResponseMIMETypes": ["a/b"],
        },
    )


def _search(name: str) -> None:
    connect("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
        },
    )
    search = backend().hyper_parameter_tuning_jobs[name]
    search.hyper_parameter_tuning_job_status = "InProgress"


def _serving(name: str, pairs: list[dict[str, str]], tags: Mapping[str, str]) -> None:
    sagemaker = connect("sagemaker")
    sagemaker.create_model(
        ModelName=f"{name}-m1",
        PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://b/m"},
        ExecutionRoleArn=ROLE,
        Tags=pairs,
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-c1",
        ProductionVariants=[
            {
                "VariantName": "main",
                "ModelName": f"{name}-m1",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 2,
            }
        ],
        Tags=pairs,
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-c1", Tags=pairs)
    connect("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{name}/variant/main",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=2,
    )
    iam = connect("iam")
    iam.create_role(RoleName=f"{name}-function", AssumeRolePolicyDocument="{}")
    connect("lambda").create_function(
        FunctionName=f"{name}-predict",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{name}-function",
        PackageType="Image",
        Code={"ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/i@sha256:{'0' * 64}"},
        Tags=dict(tags),
    )
    connect("logs").create_log_group(logGroupName=f"/aws/lambda/{name}-predict")  # by the service


def _stacks(name: str, pairs: list[dict[str, str]], tags: Mapping[str, str]) -> None:
    for stack in STACKS:
        connect("cloudformation").create_stack(
            StackName=f"{name}-{stack}", TemplateBody=TEMPLATE, Tags=pairs
        )
    events = connect("events")
    events.put_rule(Name=f"{name}-tick", ScheduleExpression="rate(1 hour)", Tags=pairs)
    target = {"Id": "1", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}
    events.put_targets(Rule=f"{name}-tick", Targets=[target])
    machines = connect("stepfunctions")
    machine = machines.create_state_machine(
        name=f"{name}-deploy",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        roleArn=ROLE,
        tags=[{"key": key, "value": value} for key, value in tags.items()],
    )["stateMachineArn"]
    machines.start_execution(stateMachineArn=machine)  # moto lets it run for ever
    connect("sqs").create_queue(
        QueueName=f"{name}-left.fifo", Attributes={"FifoQueue": "true"}, tags=dict(tags)
    )
    connect("sns").create_topic(Name=f"{name}-notices", Tags=pairs)
    connect("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-alarm",
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        Tags=pairs,
    )


def _stores(name: str, pairs: list[dict[str, str]], tags: Mapping[str, str]) -> None:
    s3 = connect("s3")
    for thing in ("logs", "data"):
        bucket = f"{name}-{thing}-{ACCOUNT}-{REGION}"
        s3.create_bucket(Bucket=bucket)
        if pairs:
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": pairs})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
        s3.put_object(Bucket=bucket, Key="a", Body=b"22")
        s3.delete_object(Bucket=bucket, Key="a")
        s3.create_multipart_upload(Bucket=bucket, Key="never ended")
    connect("ecr").create_repository(repositoryName=f"{name}/train", tags=pairs)
    connect("logs").create_log_group(logGroupName=f"/aws/states/{name}-deploy", tags=dict(tags))
    key = connect("kms").create_key(
        Tags=[{"TagKey": k, "TagValue": v} for k, v in tags.items()], Description=name
    )["KeyMetadata"]["KeyId"]
    connect("kms").create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
