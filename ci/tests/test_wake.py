"""A message to retrain's queue, and a queue that is not there."""

from __future__ import annotations

import json

import boto3
import pytest
from moto import mock_aws

from ci.__main__ import main
from components.retrain.decide import Wake
from components.retrain.handler import read_wakes


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@mock_aws
def test_a_message_is_one_that_retrain_reads(capsys: pytest.CaptureFixture[str]) -> None:
    sqs = boto3.client("sqs", "us-east-1")
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName="scenes-dev-retrain.fifo", Attributes=attributes)["QueueUrl"]
    for _ in range(2):  # two commits are two messages
        assert main(["wake", "commit", "--pipeline", "scenes-dev"]) == 0
    assert capsys.readouterr().out == "scenes-dev: retrain is woken (commit)\n" * 2
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert found["Attributes"]["ApproximateNumberOfMessages"] == "2"
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert read_wakes({"Records": [{"body": message["Body"]}]}) == {Wake.COMMIT}
    assert json.loads(message["Body"])["id"]


@mock_aws
def test_a_stage_that_is_not_deployed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wake", "tick", "--pipeline", "none-dev"]) == 1
    assert "wake: AWS refuses" in capsys.readouterr().err
