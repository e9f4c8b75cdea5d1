"""Every answer, as it goes over the wire, against botocore's own description of the API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest

from shared.pipeline.local_aws.app import operations
from shared.pipeline.local_aws.call import Call, Json, Operations
from shared.pipeline.local_aws.serving import Deployment, Serving
from shared.pipeline.local_aws.tests.conftest import PIPELINE, Place

_SERVICES = {"SageMaker": "sagemaker", "AmazonSSM": "ssm", "Logs_20140328": "logs"}
_TYPES = {
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}
_TIME = "2030-01-02T03:04:05.678+00:00"


@cache
def _output(target: str) -> Any:
    prefix, _, name = target.partition(".")
    service = botocore.session.get_session().get_service_model(_SERVICES[prefix])
    return service.operation_model(name).output_shape


def problems(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Yield what in an answer is otherwise than its shape."""
    if shape.type_name == "structure":
        yield from (f"{where}: no member {name}" for name in value.keys() - shape.members.keys())
        missing = set(shape.required_members) - value.keys()
        yield from (f"{where}: {name} is missing" for name in missing)
        for name in value.keys() & shape.members.keys():
            yield from problems(value[name], shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for number, each in enumerate(value):
            yield from problems(each, shape.member, f"{where}[{number}]")
    elif shape.type_name == "map":
        for key, each in value.items():
            yield from problems(each, shape.value, f"{where}.{key}")
    elif not isinstance(value, _TYPES[shape.type_name]):
        yield f"{where}: {value!r} is no {shape.type_name}"
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{where}: {value!r} is none of {shape.enum}"


@pytest.fixture(scope="module")
def asked(ran: Place) -> Operations:
    package = "arn:aws:sagemaker:us-east-1:000000000000:model-package/visionloop/1"
    one = Deployment(1, package, "s3://bucket/model.tar.gz", _TIME)
    two = Deployment(2, package, "s3://bucket/model.tar.gz", _TIME)
    Serving("e", "Updating", _TIME, _TIME, one, two, "because", (one, two)).save(ran.home)
    return operations(ran.workshop.settings, ran.workshop.environ)


def _requests(asked: Operations) -> Iterator[tuple[str, Json]]:
    """Yield requests for every operation but those that start and stop."""
    listed = asked["SageMaker.ListPipelineExecutions"](Call({"PipelineName": PIPELINE}))
    arns = [each["PipelineExecutionArn"] for each in listed["PipelineExecutionSummaries"]]
    for arn in arns:
        for name in ("DescribePipelineExecution", "ListPipelineExecutionSteps"):
            yield f"SageMaker.{name}", {"PipelineExecutionArn": arn}
    first = arns[-1].rpartition("/")[2]
    package = "arn:aws:sagemaker:us-east-1:000000000000:model-package/visionloop/1"
    name, text = "/a/b", {"Value": "1", "Type": "String", "Description": "why"}
    logs = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
    streams = asked["Logs_20140328.DescribeLogStreams"]
    prefix = logs | {"logStreamNamePrefix": f"{first}-Train"}
    (stream,) = streams(Call(prefix))["logStreams"]
    yield from {
        "SageMaker.ListPipelineExecutions": {"PipelineName": PIPELINE, "MaxResults": 1},
        "SageMaker.ListPipelineParametersForExecution": {"PipelineExecutionArn": arns[0]},
        "SageMaker.DescribePipeline": {"PipelineName": PIPELINE},
        "SageMaker.ListPipelines": {},
        "SageMaker.DescribeProcessingJob": {"ProcessingJobName": f"{first}-Evaluate"},
        "SageMaker.DescribeTrainingJob": {"TrainingJobName": f"{first}-Train"},
        "SageMaker.UpdateModelPackage": {
            "ModelPackageArn": package,
            "ModelApprovalStatus": "Rejected",
            "ApprovalDescription": "not yet",
        },
        "SageMaker.ListModelPackages": {"ModelPackageGroupName": PIPELINE},
        "SageMaker.DescribeModelPackage": {"ModelPackageName": package},
        "SageMaker.DescribeEndpoint": {"EndpointName": "e"},
        "SageMaker.DescribeEndpointConfig": {"EndpointConfigName": "e-v1-local"},
        "SageMaker.DescribeModel": {"ModelName": "e-v2-local"},
        "AmazonSSM.PutParameter": {"Name": name, **text},
        "AmazonSSM.GetParameter": {"Name": name},
        "AmazonSSM.GetParameterHistory": {"Name": name},
        "AmazonSSM.GetParametersByPath": {"Path": "/a"},
        "Logs_20140328.DescribeLogStreams": prefix,
        "Logs_20140328.GetLogEvents": logs | {"logStreamName": stream["logStreamName"]},
    }.items()


def test_every_answer_is_of_the_shape_that_aws_documents(asked: Operations) -> None:
    seen = set()
    for target, body in _requests(asked):
        seen.add(target)
        answer = asked[target](Call(body))
        assert not list(problems(answer, _output(target), target))
    started = {"SageMaker.StartPipelineExecution", "SageMaker.StopPipelineExecution"}
    assert seen == asked.keys() - started


def test_the_validator_finds_what_is_wrong() -> None:
    target = "SageMaker.ListPipelineExecutionSteps"
    answer = {"PipelineExecutionSteps": [{"StepStatus": "Fine", "StartTime": _TIME, "X": 1}]}
    found = sorted(problems(answer, _output(target), ""))
    assert [each.partition(": ")[2].split()[0] for each in found] == [f"'{_TIME}'", "'Fine'", "no"]
