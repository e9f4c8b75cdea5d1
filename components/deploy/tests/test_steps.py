"""Plan, lock, limits and notices of the state machine's actions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.deploy.errors import TimedOutError
from components.deploy.steps import LIMITS_S
from components.deploy.tests.drive import EXECUTION, deploy, plan, step
from components.deploy.tests.stage import BASE, BUCKET, Stage, at


def start(stage: Stage, name: str) -> str:
    """Start an execution that never ends, and return its ARN."""
    client = stage.clients["stepfunctions"]
    definition = {
        "StartAt": "Wait",
        "States": {"Wait": {"Type": "Wait", "Seconds": 9, "End": True}},
    }
    client.create_state_machine(
        name=f"{BASE}-deploy",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/states",
    )
    machine = stage.settings.state_machine
    arn: str = client.start_execution(stateMachineArn=machine, name=name)["executionArn"]
    return arn


def report(stage: Stage, outcome: str, **more: Any) -> tuple[str, str]:
    stage.ask({"action": "report", "outcome": outcome, "execution": EXECUTION, **more})
    return stage.notices[-1]


def test_of_two_at_once_one_waits_and_then_finds_what_is_left(endpoint: Stage) -> None:
    first = start(endpoint, "first")
    one, two = endpoint.register(1), endpoint.register(2)
    endpoint.set_status(2, "PendingManualApproval")
    job = plan(endpoint, one, first)["job"]
    endpoint.set_status(2, "Approved")
    second = plan(endpoint, two, f"{EXECUTION}-second")
    assert (second["verdict"], second["job"]) == ("wait", None)
    assert "lock" in second["reason"]
    for action in ("stage", "promote", "watch", "finish"):
        while endpoint.ask({"action": action, "job": job, "execution": first}) != {
            "status": "ready"
        }:
            pass
    assert plan(endpoint, two, f"{EXECUTION}-second")["job"]["previous_version"] == 1


def test_the_same_approval_twice_deploys_once(endpoint: Stage) -> None:
    arn = endpoint.register(1)
    deploy(endpoint, arn)
    again = plan(endpoint, arn, f"{EXECUTION}-again")
    assert (again["verdict"], again["reason"]) == ("nothing", "version 1 serves already")
    assert len(endpoint.aws.sagemaker.asked("CreateModel")) == 1


def test_a_dead_executions_lock_is_taken_over(endpoint: Stage) -> None:
    first = start(endpoint, "first")
    arn = endpoint.register(1)
    assert plan(endpoint, arn, first)["verdict"] == "deploy"
    assert plan(endpoint, arn, f"{EXECUTION}-next")["verdict"] == "wait"
    endpoint.clients["stepfunctions"].stop_execution(executionArn=first)
    assert plan(endpoint, arn, f"{EXECUTION}-next")["verdict"] == "deploy"


def test_what_changes_while_the_lock_is_taken_counts(endpoint: Stage) -> None:
    arn = endpoint.register(1)

    def withdraw(**_: Any) -> None:
        endpoint.set_status(1, "Rejected")

    endpoint.clients["s3"].meta.events.register("before-call.s3.PutObject", withdraw)
    said = plan(endpoint, arn)
    assert (said["verdict"], said["job"]) == ("nothing", None)
    found = endpoint.clients["s3"].get_object(Bucket=BUCKET, Key="deploy/lock.json")
    assert json.loads(found["Body"].read()) == {"execution": ""}


@pytest.mark.parametrize(
    ("status", "verdict"), [("PendingManualApproval", "nothing"), ("Rejected", "deploy")]
)
def test_a_rejection_makes_room_and_a_registration_does_not(
    endpoint: Stage, status: str, verdict: str
) -> None:
    endpoint.register(1)
    assert plan(endpoint, endpoint.register(2, status=status))["verdict"] == verdict


def test_the_lock_is_free_after_the_end(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    found = endpoint.clients["s3"].get_object(Bucket=BUCKET, Key="deploy/lock.json")
    assert json.loads(found["Body"].read()) == {"execution": ""}


@pytest.mark.parametrize("action", ["stage", "watch", "finish", "roll_back"])
def test_no_loop_is_endless(endpoint: Stage, action: str) -> None:
    job = plan(endpoint, endpoint.register(1))["job"]
    since = at(endpoint.now - LIMITS_S[action] - 1)
    with pytest.raises(TimedOutError, match=f"{action}: not done after {LIMITS_S[action]}"):
        step(endpoint, action, job, since=since)


def test_waiting_for_the_lock_is_not_endless(endpoint: Stage) -> None:
    since = at(endpoint.now - LIMITS_S["plan"] - 1)
    event = {"action": "plan", "package": "x", "execution": EXECUTION, "since": since}
    with pytest.raises(TimedOutError):
        endpoint.ask(event)


def test_a_notice_says_what_why_what_serves_and_what_to_do(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    cause = {"errorMessage": "smoke test: golden image 0.png", "errorType": "SmokeTestError"}
    error = {"Error": "SmokeTestError", "Cause": json.dumps(cause)}
    subject, text = report(endpoint, "rolled_back", version=2, error=error)
    assert subject == "visionloop-dev: version 2 failed and was taken back"
    assert "Why:       SmokeTestError: smoke test: golden image 0.png" in text
    assert "Serving:   version 1 (visionloop-dev-v1-" in text
    assert "Reject the package" in text
    assert EXECUTION in text


def test_a_withdrawal_is_told_as_one(endpoint: Stage) -> None:
    error = {"Error": "WithdrawnError", "Cause": "no JSON"}
    subject, text = report(endpoint, "rolled_back", version=2, error=error)
    assert subject == "visionloop-dev: version 2 was withdrawn while it was deployed"
    assert "WithdrawnError: no JSON" in text
    assert "Serving:   nothing" in text


def test_a_failed_roll_back_is_loud(endpoint: Stage) -> None:
    subject, text = report(endpoint, "roll_back_failed", version=2, error={"Error": "X"})
    assert "URGENT" in subject
    assert "Act now" in text


def test_a_notice_leaves_even_where_nothing_can_be_read(endpoint: Stage) -> None:
    endpoint.aws.sagemaker.endpoints[BASE] = {"EndpointName": BASE}  # makes the fake fail
    fake = endpoint.aws.sagemaker
    fake.endpoints.clear()
    fake.call = _refuse  # type: ignore[method-assign]
    subject, text = report(endpoint, "not_started", package="x/2", reason="because")
    assert subject == "visionloop-dev: version 2 is not deployed"
    assert "Serving:   unknown: " in text
    assert "Why:       because" in text


def _refuse(action: str, given: Any) -> Any:
    from components.deploy.tests.fake_sagemaker import RefusalError

    raise RefusalError("AccessDeniedException", f"not allowed: {action}")
