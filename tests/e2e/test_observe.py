"""Alarms and events on emulators: one notice until an alarm clears, and nothing acts unasked.

MiniStack tells SNS of an alarm's change of state, as CloudWatch does, but emits no event of
it, and takes none from `aws.*` sources by hand: the rules are made to hear a test, too
(their patterns are held against real events in ci/tests/test_observe.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import ACCOUNT, REGION, wait_for

pytestmark = pytest.mark.e2e
DRIFT = f"{PREFIX}-drift-share"


class Notices:
    """Reads what the topic of notices sends."""

    def __init__(self, deployed: Deployed) -> None:
        self._sqs = deployed.client("sqs")
        self._sns = deployed.client("sns")
        name = "/visionloop/dev/stack/foundation/NoticesArn"
        topic = deployed.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:reader-of-notices"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.url = self._sqs.create_queue(
            QueueName="reader-of-notices", Attributes={"Policy": policy}
        )["QueueUrl"]
        self._subscription = self._sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]

    def read(self) -> list[str]:
        """Return what came since the last look; delivery is part of the call that caused it."""
        texts = []
        while messages := self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                texts.append(json.loads(message["Body"])["Message"])
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return texts

    def close(self) -> None:
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self.url)


@pytest.fixture
def notices(stage: Deployed) -> Iterator[Notices]:
    made = Notices(stage)
    yield made
    made.close()


def _set(stage: Deployed, alarm: str, state: str) -> None:
    stage.client("cloudwatch").set_alarm_state(
        AlarmName=alarm, StateValue=state, StateReason="a test"
    )


def _send(stage: Deployed, rule: str, detail: dict[str, Any]) -> None:
    """Send an event that the rule catches or not, from a source that a test may use."""
    events = stage.client("events")
    name = f"{PREFIX}-{rule}"
    pattern = json.loads(events.describe_rule(Name=name)["EventPattern"])
    pattern["source"] = [*pattern["source"], "test"]
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    (kind,) = pattern["detail-type"]
    entry = {"Source": "test", "DetailType": kind, "Detail": json.dumps(detail)}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_an_alarm_tells_once_until_it_clears(stage: Deployed, notices: Notices) -> None:
    _set(stage, DRIFT, "OK")
    notices.read()
    for _ in range(3):
        _set(stage, DRIFT, "ALARM")
    (told,) = map(json.loads, notices.read())
    assert (told["AlarmName"], told["NewStateValue"]) == (DRIFT, "ALARM")
    assert "label what is in the review queue" in told["AlarmDescription"]
    _set(stage, DRIFT, "OK")
    _set(stage, DRIFT, "ALARM")
    assert [json.loads(text)["NewStateValue"] for text in notices.read()] == ["OK", "ALARM"]
    _set(stage, DRIFT, "OK")


def test_a_drift_alarm_wakes_retrain_which_starts_nothing_unless_operators_say_so(
    stage: Deployed,
) -> None:
    logs, sagemaker = stage.client("logs"), stage.client("sagemaker")
    known = {p["PipelineName"] for p in sagemaker.list_pipelines()["PipelineSummaries"]}
    before = _executions(sagemaker) if PREFIX in known else 0

    def looks() -> list[str]:
        group = f"/aws/lambda/{PREFIX}-retrain"
        events = logs.filter_log_events(logGroupName=group)["events"]
        return [e["message"] for e in events if "drift only tells" in e["message"]]

    count = len(looks())
    detail = {"alarmName": DRIFT, "state": {"value": "ALARM"}, "previousState": {"value": "OK"}}
    _send(stage, "drift", detail)
    wait_for(lambda: len(looks()) > count, "retrain says that drift only tells")
    assert (_executions(sagemaker) if PREFIX in known else 0) == before


def _executions(sagemaker: Any) -> int:
    found = sagemaker.list_pipeline_executions(PipelineName=PREFIX)
    return len(found["PipelineExecutionSummaries"])


def test_a_failed_run_is_noticed_and_a_good_one_is_not(stage: Deployed, notices: Notices) -> None:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{PREFIX}"
    for status in ("Succeeded", "Failed"):
        detail = {
            "currentPipelineExecutionStatus": status,
            "executionStartTime": "2026-01-01T00:00:00Z",
            "pipelineArn": arn,
            "pipelineExecutionArn": f"{arn}/execution/{status.lower()}",
        }
        _send(stage, "pipeline-failed", detail)
    told = wait_for(notices.read, "a notice of the failed run")
    assert len(told) == 1
    assert "execution/failed, begun 2026-01-01" in told[0]
    assert notices.read() == []
