"""What is asked wrongly, and by whom nothing may be asked."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from shared.pipeline.local_aws.tests.conftest import Place, client


def _post(
    place: Place, body: bytes, target: str = "SageMaker.ListPipelines", **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(str(urlsplit(place.url).netloc), timeout=10)
    try:
        connection.request("POST", "/", body, {"X-Amz-Target": target, **headers})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_an_unknown_operation_is_refused_with_what_there_is(ran: Place) -> None:
    with pytest.raises(ClientError, match=r"there is .*DescribePipeline,") as refused:
        ran.client("sagemaker").list_models()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("name", ["evil.example.com", "127.0.0.1.example.com", "[::1]"])
def test_only_requests_that_name_this_machine_are_answered(ran: Place, name: str) -> None:
    """A page may give its own name the address 127.0.0.1 once a browser has loaded it."""
    assert _post(ran, b"{}", Host=name)[0] == 400
    assert _post(ran, b"{}", Host="localhost:80")[0] == 200


def test_a_page_of_a_browser_is_not_answered(ran: Place) -> None:
    assert _post(ran, b"{}", Origin="http://127.0.0.1:8000")[0] == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "ValidationException"),
        (b'{"MaxResults": "many"}', "ValidationException"),
        (b'{"NextToken": "~"}', "ValidationException"),
        (b'{"SortOrder": "up"}', "ValidationException"),
        (b'{"CreatedAfter": "yesterday"}', "ValidationException"),
        (b" " * (5 << 20), "RequestEntityTooLargeException"),
    ],
)
def test_a_bad_request_is_refused_in_words(ran: Place, body: bytes, code: str) -> None:
    status, text = _post(ran, body)
    assert status in (400, 413)
    assert json.loads(text)["__type"] == code


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "a" * 300, "a\n"])
def test_a_name_is_never_a_path(ran: Place, name: str) -> None:
    body = json.dumps({"PipelineName": name}).encode()
    for operation in ("DescribePipeline", "ListPipelineExecutions", "StartPipelineExecution"):
        status, text = _post(ran, body, f"SageMaker.{operation}")
        assert (status, json.loads(text)["__type"]) == (400, "ValidationException")


def test_an_endpoint_that_never_was_is_not_found(place: Place) -> None:
    with pytest.raises(ClientError) as refused:
        client(place.url, "sagemaker-runtime").invoke_endpoint(EndpointName="none", Body=b"1")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert "Endpoint none of account 000000000000 not found" in str(refused.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"logGroupName": "/other", "logStreamName": "x"}, "ResourceNotFoundException"),
        (
            {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": "../x/y"},
            "ResourceNotFoundException",
        ),
    ],
)
def test_a_missing_log_is_said_as_aws_says_it(ran: Place, body: dict[str, str], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        ran.client("logs").get_log_events(**body)
    assert refused.value.response["Error"]["Code"] == code


def test_an_update_changes_the_decision_alone(ran: Place) -> None:
    with pytest.raises(ClientError, match="SourceUri: a local model package's decision alone"):
        ran.client("sagemaker").update_model_package(ModelPackageArn="x/y", SourceUri="s3://x")
