"""SageMaker's own clients: batch transform, and sagemaker-runtime by boto3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from ci.endpoint import Endpoint
from shared.vision.golden import TOLERANCE, GoldenImage
from tests.endpoint.target import Reply, Target


def test_batch_transforms_conversation(target: Target) -> None:
    """Ping, ask for the plan, send every record, so many at a time as the plan says."""
    assert target.http("GET", "/ping").status == 200
    plan = target.http("GET", "/execution-parameters").document
    assert plan["BatchStrategy"] == "SINGLE_RECORD"
    assert plan["MaxPayloadInMB"] >= 1
    assert plan["MaxConcurrentTransforms"] >= 1

    def transform(image: GoldenImage) -> Reply:
        headers = {"Content-Type": "application/x-image", "Accept": "application/json"}
        return target.http("POST", "/invocations", image.data, headers)

    with ThreadPoolExecutor(plan["MaxConcurrentTransforms"]) as pool:
        replies = list(pool.map(transform, target.golden * 4))
    for image, reply in zip(target.golden * 4, replies, strict=True):
        assert reply.status == 200
        assert reply.probabilities[0] == pytest.approx(image.probabilities, abs=TOLERANCE)


def test_boto3_gets_the_model_response_as_it_is(target: Target) -> None:
    response = target.client.invoke_endpoint(
        EndpointName=target.name,
        Body=target.golden[0].data,
        ContentType="application/x-image",
        Accept="application/jsonlines",
    )
    assert response["ContentType"] == "application/jsonlines"
    assert response["InvokedProductionVariant"]
    assert response["Body"].read().count(b"\n") == 1


def test_boto3_raises_a_model_error_with_the_models_own_words(target: Target) -> None:
    with pytest.raises(target.client.exceptions.ModelError) as raised:
        target.client.invoke_endpoint(
            EndpointName=target.name, Body=b"no image", ContentType="image/png"
        )
    said = raised.value.response
    assert said["OriginalStatusCode"] == 422
    assert '"error": "UndecodableImage"' in said["OriginalMessage"]
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_boto3_raises_a_validation_error_for_another_endpoints_name(target: Target) -> None:
    place = f"{target.address}/no-such-endpoint" if target.address else "no-such-endpoint"
    with pytest.raises(ClientError) as raised:
        Endpoint.at(place).client.invoke_endpoint(EndpointName="no-such-endpoint", Body=b"x")
    assert raised.value.response["Error"]["Code"] == "ValidationError"
    assert "not found" in raised.value.response["Error"]["Message"]
