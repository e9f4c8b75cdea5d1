"""The stack `deploy`: what its rules catch, what its roles allow, where its machine can go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

import pytest
from moto.events.models import EventPattern

from ci.problems import REPOSITORY
from ci.templates import load_template
from components.deploy.settings import Settings
from components.deploy.steps import LIMITS_S
from components.deploy.tests.drive import EXECUTION, act, deploy, plan
from components.deploy.tests.events import model_package_changed, parameter_changed
from components.deploy.tests.stage import BASE, Stage, package, set_parameter, staged

TEMPLATE = load_template(REPOSITORY / "ci/stacks/deploy.yaml")
RESOURCES = TEMPLATE["Resources"]
STATES = RESOURCES["Machine"]["Properties"]["Definition"]["States"]
NAMES = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "KeyArn": "key",
    "NoticesArn": f"arn:aws:sns:us-east-1:123456789012:{BASE}-notices",
}
ARN = "arn:aws:{}:us-east-1:123456789012:{}"


def plain(node: Any, target: str) -> Any:
    """Return a part of the template with its functions resolved."""
    if isinstance(node, list):
        return [plain(entry, target) for entry in node]
    if not isinstance(node, dict):
        return node
    (key, value), *more = node.items()
    if more or not (key == "Ref" or key.startswith("Fn::")):
        return {key: plain(value, target) for key, value in node.items()}
    if key == "Fn::If":
        assert value[0] == "IsLambda"
        return plain(value[1 if target == "lambda" else 2], target)
    known = {
        "Ref": lambda: NAMES[value],
        "Fn::GetAtt": lambda: ".".join(value),
        "Fn::Sub": lambda: re.sub(r"\$\{([^}]+)\}", lambda name: NAMES[name[1]], value),
    }
    return known[key]()


def is_caught(rule: str, event: Any) -> bool:
    pattern = json.dumps(plain(RESOURCES[rule]["Properties"]["EventPattern"], ""))
    assert set(re.findall(r'"(anything-but|prefix|suffix|exists|\$or|wildcard)"', pattern)) == set()
    matched: bool = EventPattern.load(pattern).matches_event(event)
    return matched


@pytest.mark.parametrize(
    ("group", "status", "caught"),
    [
        (BASE, "Approved", True),
        (BASE, "Rejected", True),
        (BASE, "PendingManualApproval", True),  # what serves may have been set back to it
        (f"{BASE}-blue", "Approved", False),
        ("visionloop-prod", "Approved", False),
    ],
)
def test_decisions_about_our_packages_are_caught(group: str, status: str, caught: bool) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{group}/3"
    event = model_package_changed(package(arn, 3, status, "s3://bucket/key", group))
    assert is_caught("Approvals", event) is caught
    assert is_caught("Approvals", event | {"source": "aws.ecr"}) is False
    assert is_caught("Approvals", event | {"detail-type": "SageMaker Model State Change"}) is False


@pytest.mark.parametrize(
    ("name", "operation", "caught"),
    [
        ("/visionloop/dev/operator/Minimum-Inference-Units", "Update", True),
        ("/visionloop/dev/operator/Minimum-Inference-Units", "Create", True),
        ("/visionloop/dev/operator/Minimum-Inference-Units", "Delete", False),
        ("/visionloop/dev/operator/Minimum-F1-Score", "Update", False),
        ("/visionloop/prod/operator/Minimum-Inference-Units", "Update", False),
    ],
)
def test_a_change_of_the_least_number_of_instances_is_caught(
    name: str, operation: str, caught: bool
) -> None:
    assert is_caught("Units", parameter_changed(name, operation)) is caught


def test_the_function_is_told_every_setting() -> None:
    variables = RESOURCES["Function"]["Properties"]["Environment"]["Variables"]
    assert set(variables) == {f"VISIONLOOP_{f.name.upper()}" for f in fields(Settings)}


def test_every_state_is_reached_and_every_loop_waits() -> None:
    reached = {"BeginPlan"}
    for state in STATES.values():
        reached |= set(_next(state))
    assert reached == set(STATES)
    for name in ("StageVersion", "Promote", "Watch", "Finish", "RollBack", "Plan"):
        came_from = [n for n, state in STATES.items() if name in _next(state)]
        kinds = sorted(STATES[n]["Type"] for n in came_from)
        assert kinds == ["Pass", "Wait"], f"{name} begins its limit once and is asked again"


def test_only_ready_goes_on_and_only_pending_waits() -> None:
    judges = [s for s in STATES.values() if "$.step.status" in str(s.get("Choices"))]
    assert len(judges) == 7
    for judge in judges:
        for choice in judge["Choices"]:
            is_waiting = STATES[choice["Next"]]["Type"] == "Wait"
            assert (choice["StringEquals"] == "pending") is is_waiting
        assert STATES[judge["Default"]]["InputPath"] == "$.step.error"


def test_every_task_has_a_way_out_and_asks_for_a_known_action() -> None:
    tasks = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
    for name, task in tasks.items():
        assert task["Catch"][0]["ErrorEquals"] == ["States.ALL"], name
        assert task["Retry"], name
        assert task["Resource"] == "${Function}"
    looping = {t["Parameters"]["action"] for t in tasks.values() if "since.$" in t["Parameters"]}
    assert looping == set(LIMITS_S)


def test_what_gets_traffic_was_proven_and_is_proven_again() -> None:
    """Walk every way through the machine that ends in Deployed."""
    for way in _ways("BeginPlan", ()):
        tasks = [name for name in way if STATES[name]["Type"] == "Task"]
        if way[-1] == "Deployed":
            assert tasks[:7] == [
                "Plan",
                "StageVersion",
                "ProveStaged",
                "Promote",
                "Watch",
                "ProveLive",
                "Finish",
            ]
        elif "StageVersion" in tasks and "Finish" not in tasks:
            assert "RollBack" in tasks, way
        if way[-1] not in ("NothingToDo", "Deployed"):
            assert any(name.startswith("Report") for name in tasks), way


def _next(state: Any) -> Iterator[str]:
    yield from (value for key, value in state.items() if key in ("Next", "Default"))
    for branch in (*state.get("Choices", ()), *state.get("Catch", ())):
        yield branch["Next"]


def _ways(name: str, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    way = (*before, name)
    following = [n for n in _next(STATES[name]) if n not in way]
    if STATES[name]["Type"] in ("Succeed", "Fail"):
        yield way
    for after in following:
        yield from _ways(after, way)


def calls_of(target: str) -> set[tuple[str, str]]:
    with staged(target) as stage:
        before = len(stage.calls)
        for version in (1, 2, 3):
            stage.aws.functions.latest |= {"ImageUri": "old"} if version == 3 else {}
            deploy(stage, stage.register(version))
        set_parameter(stage, "Minimum-Inference-Units", "200")  # no value: the history is read
        stage.ask({"detail-type": "Parameter Store Change"})
        _fail_everywhere(stage)
        return {_asked(*call) for call in stage.calls[before:]} - {("", "")}


def _fail_everywhere(stage: Stage) -> None:
    """Take versions back after promotion, with and without one before, and tell."""
    for version, is_first in ((4, False), (5, True)):
        job = plan(stage, stage.register(version))["job"]
        if is_first:
            stage.aws.sagemaker.endpoints.clear()
            stage.aws.functions.aliases.clear()
            job |= {"previous": "", "previous_version": 0}
        for action in ("stage", "prove_staged", "promote", "roll_back"):
            act(stage, action, job)
    stage.ask({"action": "report", "outcome": "deployed", "version": 4, "execution": EXECUTION})
    rival = f"arn:aws:states:us-east-1:123456789012:execution:{BASE}-deploy:rival"
    stage.set_status(5, "Rejected")
    plan(stage, stage.register(6))
    plan(stage, stage.register(7), rival)
    arn = stage.register(8)
    record = {"messageId": "1", "body": json.dumps({"detail": {"ModelPackageArn": arn}})}
    stage.ask({"Records": [record]})


_ACTIONS = {("lambda", "Invoke"): "InvokeFunction"}
_PREFIXES = {
    "sagemaker-runtime": "sagemaker",
    "stepfunctions": "states",
    "monitoring": "cloudwatch",
}


def _asked(service: str, operation: str, given: Any) -> tuple[str, str]:
    """Return the IAM action and the resource that a call is checked for."""
    prefix = _PREFIXES.get(service, service)
    action = f"{prefix}:{_ACTIONS.get((service, operation), operation)}"
    if operation in ("CreateBucket", "PutMetricAlarm", "CreateTopic", "PutParameter") or (
        service == "s3" and operation == "PutObject" and given["Key"].startswith("models/")
    ):
        return "", ""  # the test's own
    return action, _resource(prefix, given)


def _resource(prefix: str, given: Any) -> str:
    if prefix == "s3":
        return f"arn:aws:s3:::{given['Bucket']}/{given['Key']}"
    if prefix == "lambda":
        qualifier = f":{given['Qualifier']}" if "Qualifier" in given else ""
        return ARN.format("lambda", f"function:{given['FunctionName']}{qualifier}")
    if prefix == "ssm":
        return ARN.format("ssm", f"parameter{given.get('Path') or given['Name']}")
    if prefix == "application-autoscaling":
        return ARN.format(prefix, "scalable-target/x")
    for key, kind in (
        ("EndpointName", "endpoint"),
        ("EndpointConfigName", "endpoint-config"),
        ("ModelName", "model"),
    ):
        if key in given:
            return ARN.format("sagemaker", f"{kind}/{given[key]}")
    whole = ("ModelPackageName", "stateMachineArn", "executionArn", "TopicArn")
    return next((str(given[key]) for key in whole if key in given), "*")


def granted(role: str, target: str) -> list[tuple[str, str]]:
    """Return each action and resource pattern that a role's policies allow."""
    pairs = []
    for policy in plain(RESOURCES[role]["Properties"]["Policies"], target):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            actions = [actions] if isinstance(actions, str) else actions
            resources = [resources] if isinstance(resources, str) else resources
            pairs += [(action, resource) for action in actions for resource in resources]
    return pairs


# What AWS asks of a role beside the calls: for messages, logs, keys, tags, images, hand-over.
ASKED_BY_AWS = {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ChangeMessageVisibility",
    "sqs:SendMessage",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "iam:PassRole",
}
ASKED_FOR_ENDPOINTS = {
    "sagemaker:UpdateEndpointWeightsAndCapacities",  # by scaling, in the name of who sets it up
    "sagemaker:AddTags",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:DeleteAlarms",
    "iam:CreateServiceLinkedRole",
    "application-autoscaling:DeregisterScalableTarget",  # by DeleteEndpoint, too
}
ASKED_FOR_FUNCTIONS = {
    "lambda:TagResource",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetRepositoryPolicy",
    "ecr:SetRepositoryPolicy",
}


@pytest.mark.parametrize(
    ("target", "beside"),
    [
        ("endpoint", ASKED_FOR_ENDPOINTS),
        ("lambda", ASKED_FOR_FUNCTIONS),
    ],
)
def test_the_function_may_do_what_it_does_and_nothing_else(target: str, beside: set[str]) -> None:
    asked, pairs = calls_of(target), granted("Role", target)
    for action, resource in sorted(asked):
        matching = [r for a, r in pairs if a == action and fnmatchcase(resource, r)]
        assert matching, f"{action} on {resource} is not allowed"
    unused = {action for action, _ in pairs} - {action for action, _ in asked}
    assert unused - ASKED_BY_AWS == beside


def test_only_what_knows_no_resource_is_allowed_on_all() -> None:
    for role in ("Role", "EndpointRole", "PredictRole", "MachineRole"):
        for target in ("endpoint", "lambda"):
            pairs = granted(role, target)
            assert not [a for a, _ in pairs if "*" in a]
            for action, resource in pairs:
                verb = action.partition(":")[2]
                assert (
                    resource != "*"
                    or verb.startswith(
                        ("List", "Describe", "GetAuthorizationToken", "PutMetricData")
                    )
                    or action.startswith("logs:")
                ), action
