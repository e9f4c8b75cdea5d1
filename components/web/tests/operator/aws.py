"""A fake of AWS's services: whatever it is asked and answers fits botocore's shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import validate_parameters

Json = dict[str, Any]
Answer = Json | list[Json] | Exception | Callable[..., Json]
ACCOUNT = "arn:aws:sagemaker:us-east-1:000000000000"
PIPELINE, RUN = "scenes", "8c7b2df808d8"
BEGAN = datetime(2026, 11, 29, 16, 0, tzinfo=UTC)


@cache
def _operations(service: str) -> dict[str, Any]:
    model = get_session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


def error(code: str, message: str, operation: str = "Any") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Fake:
    """One service; answers by operation: what is answered, raised or called.

    asked: every request, in order.
    """

    def __init__(self, service: str, **answers: Answer) -> None:
        self._service = service
        self.answers = answers
        self.asked: list[tuple[str, Json]] = []

    def __getattr__(self, name: str) -> Callable[..., Json]:
        model = _operations(self._service)[name]

        def call(**request: Any) -> Json:
            validate_parameters(request, model.input_shape)
            self.asked.append((name, request))
            answer = self.answers[name]
            found = answer(**request) if callable(answer) else answer
            if isinstance(found, Exception):
                raise found
            page = found[0] if isinstance(found, list) else found
            validate_parameters(page, model.output_shape)
            return page

        return call

    def get_paginator(self, name: str) -> _Pages:
        return _Pages(self, name)

    def requests(self, name: str) -> list[Json]:
        return [request for asked, request in self.asked if asked == name]


@dataclass
class _Pages:
    fake: Fake
    name: str

    def paginate(
        self,
        PaginationConfig: Json | None = None,  # noqa: N803 - boto3's name
        **request: Any,
    ) -> Iterator[Json]:
        """Yield the pages of a list that was given as several."""
        if PaginationConfig:
            request["MaxResults"] = PaginationConfig["PageSize"]
        answer = self.fake.answers[self.name]
        first = getattr(self.fake, self.name)(**request)
        yield from answer if isinstance(answer, list) else [first]


@dataclass
class Services:
    """The clients that the application is given."""

    sagemaker: Any
    ssm: Any = None
    logs: Any = None
    cloudwatch: Any = None
    s3: Any = None
    function: Any = None
    runtime: Any = None

    def __call__(self, service: str) -> Any:
        return {"lambda": self.function, "s3": self.s3}[service]


def parameter(name: str, kind: str, default: Any, **more: Any) -> Json:
    return {"Name": name, "Type": kind, "DefaultValue": default, **more}


DEFINITION: Json = {
    "Version": "2020-12-01",
    "Parameters": [
        parameter("TrainDataset", "String", "sample://scenes"),
        parameter("Epochs", "Integer", 25),
        parameter("LearningRate", "Float", 0.001),
        parameter("MinAccuracy", "Float", 0.9),
        parameter("Champion", "String", ""),
        parameter("Quick", "Boolean", False),
        parameter("ApprovalStatus", "String", "Approved", EnumValues=["Approved", "Rejected"]),
    ],
    "Steps": [
        {"Name": "FetchData", "Type": "Processing", "Arguments": {}},
        {"Name": "Preprocess", "Type": "Processing", "Arguments": {}},
        {"Name": "Train", "Type": "Training", "Arguments": {}},
        {"Name": "Evaluate", "Type": "Processing", "Arguments": {}},
        {
            "Name": "GatesPassed",
            "Type": "Condition",
            "Arguments": {
                "IfSteps": [{"Name": "Register", "Type": "Processing", "Arguments": {}}],
                "ElseSteps": [{"Name": "GatesFailed", "Type": "Fail", "Arguments": {}}],
            },
        },
    ],
}


def step(name: str, status: str = "Succeeded", at_s: int = 0, **more: Any) -> Json:
    """Return a step of ListPipelineExecutionSteps that took ten seconds."""
    began = BEGAN + timedelta(seconds=at_s)
    over = {} if status == "Executing" else {"EndTime": began + timedelta(seconds=10)}
    return {"StepName": name, "StepStatus": status, "StartTime": began, **over, **more}


def job(kind: str, name: str) -> Json:
    path = {"ProcessingJob": "processing-job", "TrainingJob": "training-job"}[kind]
    return {"Metadata": {kind: {"Arn": f"{ACCOUNT}:{path}/{name}"}}}


STEPS = [
    step("FetchData", **job("ProcessingJob", "j-fetch")),
    step("Preprocess", at_s=10, **job("ProcessingJob", "j-preprocess")),
    step("Train", at_s=20, **job("TrainingJob", "j-train")),
    step("Evaluate", at_s=30, **job("ProcessingJob", "j-evaluate")),
    step("GatesPassed", at_s=40, Metadata={"Condition": {"Outcome": "True"}}),
    step("Register", at_s=41, **job("ProcessingJob", "j-register")),
]


@dataclass
class Store:
    """What SageMaker holds in a test; `bucket` stands below VISIONLOOP_S3_ROOT."""

    steps: list[Json] = field(default_factory=lambda: list(STEPS))
    status: str = "Succeeded"
    packages: dict[int, Json] = field(default_factory=dict)
    endpoint: Json | Exception = field(
        default_factory=lambda: error("ValidationException", 'Could not find endpoint "x".')
    )

    def sagemaker(self, **more: Answer) -> Fake:
        """Return the fake of SageMaker; more: answers in place of ours."""
        return Fake(
            "sagemaker",
            **{
                "describe_pipeline": {
                    "PipelineArn": f"{ACCOUNT}:pipeline/{PIPELINE}",
                    "PipelineDefinition": json.dumps(DEFINITION),
                },
                "list_pipeline_executions": self._executions,
                "describe_pipeline_execution": self._execution,
                "list_pipeline_execution_steps": lambda **_: {"PipelineExecutionSteps": self.steps},
                "list_pipeline_parameters_for_execution": {
                    "PipelineParameters": [{"Name": "Epochs", "Value": "3"}]
                },
                "describe_processing_job": _processing_job,
                "start_pipeline_execution": {
                    "PipelineExecutionArn": f"{ACCOUNT}:pipeline/{PIPELINE}/execution/0123456789ab"
                },
                "stop_pipeline_execution": self._stop,
                "list_model_packages": self._list_packages,
                "describe_model_package": self._describe_package,
                "update_model_package": self._update_package,
                "describe_endpoint": lambda **_: self.endpoint,
            }
            | more,
        )

    def add_package(self, version: int, status: str = "PendingManualApproval") -> None:
        folder = f"s3://bucket/scenes/run{version}/Register"
        self.packages[version] = {
            "ModelPackageName": "scenes",
            "ModelPackageGroupName": "scenes",
            "ModelPackageVersion": version,
            "ModelPackageArn": f"{ACCOUNT}:model-package/scenes/{version}",
            "CreationTime": BEGAN + timedelta(hours=version),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "ModelApprovalStatus": status,
            "InferenceSpecification": {
                "Containers": [{"Image": "image", "ModelDataUrl": f"{folder}/package/model.tar.gz"}]
            },
            "CustomerMetadataProperties": {
                "execution": RUN,
                "report": f"{folder}/report/index.html",
            },
        }

    def _executions(self, **_: Any) -> Json:
        return {
            "PipelineExecutionSummaries": [
                {
                    "PipelineExecutionArn": f"{ACCOUNT}:pipeline/{PIPELINE}/execution/{RUN}",
                    "StartTime": BEGAN,
                    "PipelineExecutionStatus": self.status,
                }
            ]
        }

    def _execution(self, PipelineExecutionArn: str) -> Json:  # noqa: N803 - AWS's names
        if not PipelineExecutionArn.endswith(RUN):
            raise error("ResourceNotFound", f"Pipeline execution {PipelineExecutionArn} ...")
        return {
            "PipelineExecutionArn": PipelineExecutionArn,
            "PipelineExecutionStatus": self.status,
            "CreationTime": BEGAN,
            "LastModifiedTime": BEGAN + timedelta(seconds=60),
        }

    def _stop(self, PipelineExecutionArn: str, **_: Any) -> Json:  # noqa: N803
        self.status = "Stopping"
        return {"PipelineExecutionArn": PipelineExecutionArn}

    def _list_packages(self, ModelApprovalStatus: str = "", **_: Any) -> Json:  # noqa: N803
        names = (
            "ModelPackageArn",
            "ModelPackageVersion",
            "CreationTime",
            "ModelPackageStatus",
            "ModelApprovalStatus",
        )
        found = [
            {name: package[name] for name in names}
            for package in self.packages.values()
            if ModelApprovalStatus in ("", package["ModelApprovalStatus"])
        ]
        return {"ModelPackageSummaryList": found}

    def _describe_package(self, ModelPackageName: str) -> Json:  # noqa: N803
        return self.packages[int(ModelPackageName.rpartition("/")[2])]

    def _update_package(self, ModelPackageArn: str, **changes: Any) -> Json:  # noqa: N803
        package = self.packages[int(ModelPackageArn.rpartition("/")[2])]
        package |= changes | {"LastModifiedTime": BEGAN + timedelta(hours=9)}
        return {"ModelPackageArn": ModelPackageArn}


def serving(version: int, status: str = "InService", **more: Any) -> Json:
    return {
        "EndpointName": "scenes",
        "EndpointArn": f"{ACCOUNT}:endpoint/scenes",
        "EndpointConfigName": f"scenes-v{version}-0123abcd",
        "EndpointStatus": status,
        "CreationTime": BEGAN,
        "LastModifiedTime": BEGAN,
        "ProductionVariants": [{"VariantName": "main", "CurrentInstanceCount": 2}],
        **more,
    }


def _processing_job(ProcessingJobName: str) -> Json:  # noqa: N803
    name = ProcessingJobName.removeprefix("j-")
    outputs = [
        {
            "OutputName": output,
            "S3Output": {
                "S3Uri": f"s3://bucket/scenes/{name}/{output}",
                "LocalPath": f"/opt/ml/processing/output/{output}",
                "S3UploadMode": "EndOfJob",
            },
        }
        for output in ("metrics", "report")
    ]
    return {
        "ProcessingJobName": ProcessingJobName,
        "ProcessingJobArn": f"{ACCOUNT}:processing-job/{ProcessingJobName}",
        "ProcessingJobStatus": "Completed",
        "CreationTime": BEGAN,
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.xlarge",
                "VolumeSizeInGB": 30,
            }
        },
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingOutputConfig": {"Outputs": outputs},
    }
