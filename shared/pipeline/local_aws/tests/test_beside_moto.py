"""One scenario through boto3, against moto and against the local AWS: the same comes of it.

moto knows neither list_pipeline_execution_steps nor stop_pipeline_execution, and forgets a
package's CustomerMetadataProperties.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from shared.pipeline.local_aws.tests.conftest import (
    PIPELINE,
    TOKEN,
    Place,
    client,
    wait_until,
)

PARAMETERS = [{"Name": "TrainDataset", "Value": "sample://moto"}]


def _request() -> dict[str, Any]:
    return {
        "ModelPackageGroupName": PIPELINE,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/s"}}
        },
    }


@pytest.fixture
def moto(place: Place) -> Iterator[str]:
    """moto, told of the same package and pipeline as the local AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # It remembers for the whole process what another test has told it.
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    sagemaker = client(url, "sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=PIPELINE)
    sagemaker.create_model_package(**_request())
    file = place.home / "pipelines" / f"{PIPELINE}.json"
    role = "arn:aws:iam::000000000000:role/visionloop"
    sagemaker.create_pipeline(
        PipelineName=PIPELINE,
        PipelineDefinition=file.read_text(),
        RoleArn=role,
        ClientRequestToken=TOKEN,
    )
    yield url
    server.stop()


@pytest.fixture
def local(place: Place) -> str:
    place.workshop.backend.registry.create(_request())
    assert place.workshop.run("--upsert", "--backend", "local")[0] == 0
    return place.url


def _packages(url: str) -> list[Any]:
    sagemaker = client(url, "sagemaker")

    def listed(**more: str) -> list[dict[str, Any]]:
        return list(
            sagemaker.list_model_packages(ModelPackageGroupName=PIPELINE, **more)[
                "ModelPackageSummaryList"
            ]
        )

    (before,) = listed()
    arn = before["ModelPackageArn"]
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="good"
    )
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    names = (
        *("ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelMetrics"),
        *("ModelApprovalStatus", "ApprovalDescription", "ModelPackageStatus"),
        "InferenceSpecification",
    )
    summary = ("ModelPackageVersion", "ModelApprovalStatus", "ModelPackageStatus")
    return [
        {name: before[name] for name in summary},
        {name: described[name] for name in names},
        type(described["CreationTime"]),
        [each["ModelApprovalStatus"] for each in listed(ModelApprovalStatus="Approved")],
        listed(ModelApprovalStatus="Rejected"),
    ]


def _runs(url: str) -> list[Any]:
    sagemaker = client(url, "sagemaker")
    started = sagemaker.start_pipeline_execution(
        PipelineName=PIPELINE,
        PipelineParameters=PARAMETERS,
        PipelineExecutionDisplayName="by-hand",
        ClientRequestToken=TOKEN,
    )["PipelineExecutionArn"]
    (listed,) = sagemaker.list_pipeline_executions(PipelineName=PIPELINE)[
        "PipelineExecutionSummaries"
    ]
    execution = sagemaker.describe_pipeline_execution(PipelineExecutionArn=started)
    found = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=started)
    return [
        listed["PipelineExecutionArn"] == started,
        listed["PipelineExecutionDisplayName"],
        execution["PipelineExecutionDisplayName"],
        execution["PipelineArn"],
        sagemaker.describe_pipeline(PipelineName=PIPELINE)["PipelineDefinition"],
        [each for each in found["PipelineParameters"] if each in PARAMETERS],
    ]


def _operators(url: str) -> list[Any]:
    ssm, name = client(url, "ssm"), "/visionloop/local/operator/Minimum-F1-Score"
    versions = [
        ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)["Version"]
        for value in ("0.7", "0.8")
    ]
    try:
        ssm.put_parameter(Name=name, Value="0.9", Type="String")
        code = ""
    except ClientError as err:
        code = err.response["Error"]["Code"]
    history = ssm.get_parameter_history(Name=name)["Parameters"]
    by_path = ssm.get_parameters_by_path(Path="/visionloop/local/operator")["Parameters"]
    one = ssm.get_parameter(Name=name)["Parameter"]
    names = ("Name", "Value", "Version", "Type", "DataType")
    return [
        versions,
        code,
        [{each: version[each] for each in names} for version in history],
        [{each: found[each] for each in names} for found in by_path],
        {each: one[each] for each in (*names, "ARN")},
        type(history[0]["LastModifiedDate"]),
    ]


def _without_account(found: list[Any]) -> str:
    return re.sub(r"\d{12}", "ACCOUNT", repr(found))


@pytest.mark.parametrize("scenario", [_packages, _runs, _operators])
def test_both_answer_alike(place: Place, local: str, moto: str, scenario: Any) -> None:
    assert _without_account(scenario(local)) == _without_account(scenario(moto))
    _await_end(place)


def _await_end(place: Place) -> None:
    """Leave no run behind."""
    wait_until(lambda: all(each.end for each in place.workshop.backend.list(PIPELINE)))
