"""What wakes `retrain` and what it may do: the stack `triggers`, and what others hold for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from ci.problems import REPOSITORY
from ci.templates import load_templates, substituted, walk
from components.retrain.decide import Wake
from components.retrain.handler import read_wakes
from components.retrain.tests.world import World
from shared.component.operator import read_operator

WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
}
TEMPLATES = load_templates(REPOSITORY)
RESOURCES: dict[str, Any] = TEMPLATES["triggers"]["Resources"]
DEDUPLICATION_S = 300  # docs.aws.amazon.com: FIFO queues, exactly-once processing


def of_type(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield stack, name and properties of every resource of a type."""
    for stack, template in TEMPLATES.items():
        for name, body in template["Resources"].items():
            if body["Type"] == kind:
                yield stack, name, body["Properties"]


def granted(role: str, stack: str = "triggers") -> dict[str, set[str]]:
    """Return each action that a role may take, and on what."""
    actions: dict[str, set[str]] = {}
    for each in walk(TEMPLATES[stack]["Resources"][role]["Properties"]["Policies"]):
        if each.get("Effect") != "Allow":
            continue
        listed = each["Action"] if isinstance(each["Action"], list) else [each["Action"]]
        on = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        for action in listed:
            actions.setdefault(action, set()).update(map(_resource, on))
    return actions


def _resource(value: Any) -> str:
    found = value.get("Fn::GetAtt") if isinstance(value, dict) else None
    return ".".join(found) if found else substituted(value, WORDS)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The IAM actions of all that a life of the function asks of AWS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    names = {"ListObjectsV2": "ListBucket"}
    calls: set[str] = set()
    with mock_aws():
        world = World()
        for service in ("s3", "ssm"):

            def note(model: Any, service: str = service, **_: object) -> None:
                calls.add(f"{service}:{names.get(model.name, model.name)}")

            getattr(world.clients, service).meta.events.register(f"before-call.{service}", note)
        world.put("raw/scenes/_SUCCESS")
        world.annotate(range(3))
        world.tune("Minimum-Untrained-Images", "10")
        world.tune("Minimum-Untrained-Images", "many")
        for _ in range(2):
            world.look(Wake.RAW)
            world.pipelines.end()
    calls -= {"ssm:PutParameter"}  # the test's own
    calls |= {
        f"sagemaker:{name}"
        for name in (
            "StartPipelineExecution",
            "ListPipelineExecutions",
            "DescribePipelineExecution",
            "ListModelPackages",
            "DescribeModelPackage",
        )
    }
    return calls


# What AWS asks of the role beside the calls: for messages, logs, and encrypted objects.
ASKED_BY_AWS = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    *("sqs:ChangeMessageVisibility", "logs:CreateLogStream", "logs:PutLogEvents"),
    *("kms:Decrypt", "kms:GenerateDataKey"),
}


def test_the_function_may_do_what_it_does_and_nothing_else(asked: set[str]) -> None:
    assert granted("Role").keys() == asked | ASKED_BY_AWS


def test_the_scheduler_may_send_read_its_key_and_lay_down_what_failed() -> None:
    rights = granted("TickRole")
    assert rights.keys() == {"sqs:SendMessage", "kms:Decrypt"}
    assert rights["sqs:SendMessage"] == {"Queue.Arn", "Undelivered.Arn"}


def test_each_tick_is_a_message_of_its_own() -> None:
    target = RESOURCES["Tick"]["Properties"]["Target"]
    assert json.loads(target["Input"])["id"] == "<aws.scheduler.execution-id>"
    assert read_wakes({"Records": [{"body": target["Input"]}]}) == {Wake.TICK}
    assert target["SqsParameters"] == {"MessageGroupId": "retrain"}


def test_what_is_deduplicated_comes_before_the_look_and_is_seen_by_it() -> None:
    """A wake-up that SQS swallows after the look would leave its data to the poll frequency."""
    queue = RESOURCES["Queue"]["Properties"]
    assert queue["FifoQueue"]
    assert queue["ContentBasedDeduplication"]
    assert TEMPLATES["triggers"]["Parameters"]["DelayS"]["Default"] >= DEDUPLICATION_S


def test_every_event_for_the_queue_is_in_its_group_and_lies_somewhere_if_it_is_lost() -> None:
    seen = 0
    for stack, name, rule in of_type("AWS::Events::Rule"):
        for target in rule["Targets"]:
            assert "DeadLetterConfig" in target, f"{stack}.{name}"
            if "SqsParameters" in target:
                assert target["SqsParameters"] == {"MessageGroupId": "retrain"}
                seen += 1
    assert seen == 3  # raw data, labels, drift


def test_a_message_stays_hidden_for_six_times_its_functions_timeout() -> None:
    """docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"""
    mappings = list(of_type("AWS::Lambda::EventSourceMapping"))
    assert {stack for stack, _, _ in mappings} == {"triggers", "deploy"}
    for stack, _, mapping in mappings:
        resources = TEMPLATES[stack]["Resources"]
        queue = resources[mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        function = resources[mapping["FunctionName"]["Ref"]]["Properties"]
        assert queue["VisibilityTimeout"] >= 6 * function["Timeout"], stack
        assert queue["RedrivePolicy"]["maxReceiveCount"] == 5


def test_every_alarm_tells_people() -> None:
    for stack, name, alarm in of_type("AWS::CloudWatch::Alarm"):
        assert alarm["AlarmActions"] == [{"Ref": "NoticesArn"}], f"{stack}.{name}"


def test_every_queue_of_failures_has_an_alarm() -> None:
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for stack, _, alarm in of_type("AWS::CloudWatch::Alarm")
        for dimension in alarm.get("Dimensions", ())
        if stack == "triggers" and dimension["Name"] == "QueueName"
    }
    assert watched == {"DeadLetters", "Undelivered"}


def test_the_alarm_on_bad_parameters_looks_for_what_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Written:
        def names(self) -> set[str]:
            return {"Minimum-Untrained-Images", "Minimum-Untrained-Image"}

        def texts(self, name: str) -> Iterator[str]:
            return iter([f"many of {name}"])

    read_operator(Written())
    pattern = RESOURCES["BadParameters"]["Properties"]["FilterPattern"].strip('"')
    assert len(caplog.messages) == 2
    assert all(pattern in message for message in caplog.messages)


def test_the_data_bucket_alone_emits_events() -> None:
    """What the function and the endpoint write would else wake the function."""
    emitting = {
        name
        for _, name, bucket in of_type("AWS::S3::Bucket")
        if bucket.get("NotificationConfiguration", {})
        .get("EventBridgeConfiguration", {})
        .get("EventBridgeEnabled")
    }
    assert emitting == {"Data"}


def test_who_publishes_notices_may_and_may_use_the_topics_key() -> None:
    publishing = {"cloudwatch.amazonaws.com"}
    publishing |= {
        "events.amazonaws.com"
        for _, _, rule in of_type("AWS::Events::Rule")
        if any(target["Arn"] == {"Ref": "NoticesArn"} for target in rule["Targets"])
    }
    publishing |= {"budgets.amazonaws.com" for _ in of_type("AWS::Budgets::Budget")}
    resources = TEMPLATES["foundation"]["Resources"]
    for name, policy in (("NoticesPolicy", "PolicyDocument"), ("Key", "KeyPolicy")):
        allowed = [
            set(each["Principal"]["Service"])
            for each in resources[name]["Properties"][policy]["Statement"]
            if isinstance(each["Principal"], dict)
            and isinstance(each["Principal"].get("Service"), list)
        ]
        assert allowed == [publishing], name


def test_the_pipelines_role_hands_itself_to_its_jobs_and_to_nobody_else() -> None:
    rights = granted("PipelineRole", "registry")
    assert rights["iam:PassRole"] == {"arn:aws:iam::123456789012:role/visionloop-dev-pipeline"}
    for job in ("ProcessingJob", "TrainingJob"):
        for verb in ("Create", "Describe", "Stop"):
            assert f"sagemaker:{verb}{job}" in rights
    assert rights.keys() >= {"sagemaker:AddTags", "kms:Decrypt", "kms:GenerateDataKey"}
