"""Messages of the queue become executions: one a change of a package."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.deploy.errors import DeployError
from components.deploy.receive import name_of
from components.deploy.registry import Package
from components.deploy.tests.fake_sagemaker import Json
from components.deploy.tests.stage import BASE, Stage, package
from shared.component.errors import InputError


@pytest.fixture
def stage(endpoint: Stage) -> Stage:
    definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
    endpoint.clients["stepfunctions"].create_state_machine(
        name=f"{BASE}-deploy",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/states",
    )
    return endpoint


def messages(*arns: str) -> Json:
    """Return what Lambda gets of a queue, as EventBridge fills it."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "eventSource": "aws:sqs",
                "body": json.dumps(
                    {
                        "detail-type": "SageMaker Model Package State Change",
                        "detail": {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"},
                    }
                ),
            }
            for number, arn in enumerate(arns)
        ]
    }


def started(stage: Stage) -> list[str]:
    client, machine = stage.clients["stepfunctions"], stage.settings.state_machine
    found = client.list_executions(stateMachineArn=machine)["executions"]
    return sorted(execution["name"] for execution in found)


def test_an_approval_starts_an_execution_named_for_it(stage: Stage) -> None:
    arn = stage.register(7)
    assert stage.ask(messages(arn)) == {"batchItemFailures": []}
    (name,) = started(stage)
    assert name == f"{BASE}-7-1795000007"
    execution = f"{stage.settings.state_machine.replace('stateMachine', 'execution')}:{name}"
    found = stage.clients["stepfunctions"].describe_execution(executionArn=execution)
    assert json.loads(found["input"]) == {"package": arn}


def test_ten_tellings_of_one_change_start_one_execution(stage: Stage) -> None:
    arn = stage.register(7)
    for _ in range(5):
        assert stage.ask(messages(arn, arn)) == {"batchItemFailures": []}
    assert len(started(stage)) == 1


def test_a_withdrawal_and_a_second_approval_are_executions_of_their_own(stage: Stage) -> None:
    arn = stage.register(7)
    for status in ("Approved", "Rejected", "Approved"):
        stage.set_status(7, status)
        stage.ask(messages(arn))
    assert len(started(stage)) == 3


@pytest.mark.parametrize("kind", ["gone", "foreign"])
def test_what_is_gone_or_not_ours_starts_nothing(stage: Stage, kind: str) -> None:
    arn = stage.register(7, status="PendingManualApproval")
    if kind == "gone":
        stage.aws.sagemaker.packages.clear()
    if kind == "foreign":
        arn = arn.replace(BASE, "other")
        stage.aws.sagemaker.packages[arn] = package(arn, 7, "Approved", "s3://x/y", "other")
    assert stage.ask(messages(arn)) == {"batchItemFailures": []}
    assert started(stage) == []


@pytest.mark.parametrize("body", ["no JSON", "{}", "[]", '{"detail": {}}', '{"detail": null}'])
def test_a_message_that_cannot_be_read_fails_alone(stage: Stage, body: str) -> None:
    event = messages(stage.register(7), "x")
    event["Records"][1]["body"] = body
    assert stage.ask(event) == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert len(started(stage)) == 1


def test_a_message_comes_again_where_the_execution_cannot_start(endpoint: Stage) -> None:
    said = endpoint.ask(messages(endpoint.register(7)))  # there is no state machine
    assert said == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}


def test_a_name_fits_step_functions() -> None:
    long = Package("arn", "x" * 63, 123456, "Approved", "", 1_795_000_000)
    assert len(name_of(long)) == 80
    assert name_of(long).endswith("-123456-1795000000")


@pytest.mark.parametrize("event", [{}, {"hello": 1}, {"detail-type": "Other"}])
def test_an_event_of_nobody_is_refused(endpoint: Stage, event: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give one of the queue"):
        endpoint.ask(event)


def test_every_error_names_itself_for_the_state_machine() -> None:
    assert {cls.__name__ for cls in DeployError.__subclasses__()} == {
        "WithdrawnError",
        "StagingError",
        "SmokeTestError",
        "PromotionError",
        "RollBackError",
        "TimedOutError",
    }
