"""From an approval to what serves: queue, function and state machine, IAM enforced.

MiniStack runs the stack's own queue, function and state machine; SageMaker and Lambda are the
fakes of components/deploy/tests, since moto lacks UpdateEndpoint and an image needs Docker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.deploy.tests.fake_sagemaker import Json, answer
from components.deploy.tests.stage import IMAGE, broken
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.deployments import QUEUE, Account, opened, point, settle
from tests.e2e.emulators import wait_for
from tests.e2e.lambda_front import lambda_front

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["endpoint", "serverless", "lambda"])
def account(stage: Deployed, request: pytest.FixtureRequest) -> Iterator[Account]:
    with opened(stage, request.param) as account:
        yield account


@pytest.fixture
def endpoint(stage: Deployed) -> Iterator[Account]:
    with opened(stage, "endpoint") as account:
        yield account


def test_an_approved_package_is_deployed_and_tested_and_the_next_one_after_it(
    account: Account,
) -> None:
    account.tell(account.register(1))
    assert account.ends() == ["Deployed"]
    assert account.serves() == 1
    ((subject, text),) = account.notices()
    assert subject == "visionloop-dev: version 1 is deployed"
    assert "Serving:   version 1" in text
    account.tell(account.register(2))
    assert account.ends(2) == ["Deployed", "Deployed"]
    assert account.serves() == 2
    (first, second) = account.executions()
    for name in (first, second):
        states = account.states(name)
        assert states.index("ProveStaged") < states.index("Promote") < states.index("ProveLive")


def test_a_broken_model_leaves_the_old_version_serving(account: Account) -> None:
    account.tell(account.register(1))
    account.ends()
    account.notices()
    account.tell(account.register(2, broken))
    assert account.ends(2) == ["Deployed", "RolledBack"]
    assert account.serves() == 1
    assert "Promote" not in account.states(list(account.executions())[1])
    ((subject, text),) = account.notices()
    assert subject == "visionloop-dev: version 2 failed and was taken back"
    assert "golden image 0.png: expected 'b'" in text
    assert "Serving:   version 1" in text


def test_a_withdrawal_while_deploying_brings_the_old_version_back(account: Account) -> None:
    account.tell(account.register(1))
    account.ends()
    account.notices()
    second = account.register(2)

    def withdraw(*_: Any) -> None:
        account.set_status(second, "Rejected")

    account.aws.sagemaker.on_update = withdraw
    account.aws.functions.on_alias = withdraw
    account.tell(second)
    assert account.ends(2) == ["Deployed", "Withdrawn"]
    assert account.serves() == 1
    ((subject, _),) = account.notices()
    assert subject == "visionloop-dev: version 2 was withdrawn while it was deployed"
    account.tell(second)  # the rejection's own event
    assert account.ends(3)[2] == "NothingToDo"
    assert account.notices() == []


def test_a_withdrawal_of_what_serves_brings_the_newest_approved(endpoint: Account) -> None:
    first = endpoint.register(1)
    endpoint.tell(first)
    endpoint.ends()
    second = endpoint.register(2)
    endpoint.tell(second)
    endpoint.ends(2)
    endpoint.set_status(second, "Rejected")
    endpoint.tell(second)
    assert endpoint.ends(3)[2] == "Deployed"
    assert endpoint.serves() == 1


def test_a_roll_back_that_fails_is_told_loudly(endpoint: Account) -> None:
    endpoint.tell(endpoint.register(1))
    endpoint.ends()
    endpoint.notices()
    endpoint.aws.sagemaker.update_ends = "stuck"
    endpoint.tell(endpoint.register(2))
    assert endpoint.ends(2) == ["Deployed", "RollBackFailed"]
    ((subject, text),) = endpoint.notices()
    assert subject.startswith("visionloop-dev: URGENT: version 2 failed and CANNOT be taken back")
    assert "aws sagemaker update-endpoint" in text


def test_an_alarm_while_a_quarter_is_served_brings_the_old_version_back(endpoint: Account) -> None:
    endpoint.tell(endpoint.register(1))
    endpoint.ends()
    endpoint.aws.sagemaker.update_ends = "rolled_back"
    endpoint.tell(endpoint.register(2))
    assert endpoint.ends(2) == ["Deployed", "RolledBack"]
    assert endpoint.serves() == 1


@pytest.mark.parametrize(
    ("refused", "end", "serves", "told"),
    [
        ("CreateEndpoint", "RolledBack", 0, "version 1 failed and was taken back"),
        (
            "PutScalingPolicy",
            "Unfinished",
            1,
            "version 1 serves, but scaling or cleaning up failed",
        ),
    ],
)
def test_what_aws_refuses_is_tried_again_and_then_told(
    endpoint: Account, refused: str, end: str, serves: int, told: str
) -> None:
    endpoint.aws.sagemaker.refuses = refused
    endpoint.tell(endpoint.register(1))
    assert endpoint.ends() == [end]
    assert endpoint.serves() == serves
    assert len(endpoint.aws.sagemaker.asked(refused)) == 4, "once, and three times again"
    ((subject, text),) = endpoint.notices()
    assert subject == f"visionloop-dev: {told}"
    assert "ResourceLimitExceeded" in text


def test_ten_tellings_of_one_approval_are_one_execution(endpoint: Account) -> None:
    endpoint.tell(endpoint.register(1), times=10)
    assert endpoint.ends() == ["Deployed"]
    settle(endpoint)
    assert len(endpoint.executions()) == 1
    assert len(endpoint.aws.sagemaker.asked("CreateModel")) == 1


def test_late_and_out_of_order_approvals_change_nothing(endpoint: Account) -> None:
    old, new = endpoint.register(1), endpoint.register(2)
    endpoint.tell(new, old)
    assert sorted(endpoint.ends(2)) == ["Deployed", "NothingToDo"]
    assert endpoint.serves() == 2
    assert len(endpoint.aws.sagemaker.asked("CreateModel")) == 1


def test_of_two_approvals_at_once_one_waits_for_the_other(endpoint: Account) -> None:
    first, second = endpoint.register(1), endpoint.register(2, status="PendingManualApproval")

    def approve() -> None:
        endpoint.set_status(second, "Approved")
        endpoint.tell(second)

    endpoint.aws.sagemaker.looks = 3
    endpoint.tell(first)
    wait_for(lambda: endpoint.aws.sagemaker.asked("CreateModel"), "the first is staged")
    approve()
    assert endpoint.ends(2) == ["Deployed", "Deployed"]
    assert endpoint.serves() == 2
    assert "WaitForTurn" in endpoint.states(list(endpoint.executions())[1])
    changes = [a for a, _ in endpoint.aws.sagemaker.calls if a.endswith("dateEndpoint")]
    assert changes == ["UpdateEndpoint"]


def test_without_a_permission_nothing_is_deployed(endpoint: Account) -> None:
    iam = endpoint.deployed.client("iam")
    policy = iam.get_role_policy(RoleName=QUEUE, PolicyName="start")["PolicyDocument"]
    less = [s for s in policy["Statement"] if s.get("Sid") != "Lock"]
    _put(iam, policy | {"Statement": less})
    try:
        endpoint.tell(endpoint.register(1))
        assert endpoint.ends() == ["NotStarted"]
        assert endpoint.serves() == 0
        ((_, text),) = endpoint.notices()
        assert "AccessDenied" in text
    finally:
        _put(iam, policy)


def test_a_function_and_its_role_do_on_an_emulated_lambda_what_they_do_on_the_fake(
    stage: Deployed,
) -> None:
    """The fake and MiniStack were written by different people; the role is the target's own."""
    kept = {"Target": "serverless", "PredictImage": ""}
    stage.stage.apply({"Target": "lambda", "PredictImage": IMAGE}, lambda _: None)
    client, iam = stage.client("lambda"), stage.client("iam")
    # MiniStack 1.5.33 takes reading and changing one alias for the listing of all, and does not
    # see which function is to be created.
    more = ["lambda:ListAliases", "lambda:CreateFunction"]
    statement = {"Effect": "Allow", "Action": more, "Resource": "*"}
    _put(iam, {"Version": "2012-10-17", "Statement": [statement]}, "emulator")
    try:
        with opened(stage, "lambda") as account:

            def invoke(qualifier: str, body: bytes) -> Json:
                found = client.get_function_configuration(
                    FunctionName=f"{PREFIX}-predict", Qualifier=qualifier
                )
                uri = found["Environment"]["Variables"]["VISIONLOOP_MODEL_URI"]
                return answer(account.aws.sagemaker.brains[uri], body)

            with lambda_front(stage.emulators.ministack, invoke) as url:
                point(stage, "lambda", account.aws.url, url)
                account.tell(account.register(1))
                assert account.ends() == ["Deployed"], account.notices()
                account.tell(account.register(2))
                assert account.ends(2)[1] == "Deployed", account.notices()
                account.tell(account.register(3, broken))
                assert account.ends(3)[2] == "RolledBack"
        alias = client.get_alias(FunctionName=f"{PREFIX}-predict", Name="live")
        assert (alias["FunctionVersion"], alias.get("RoutingConfig")) == ("2", None)
        versions = client.list_versions_by_function(FunctionName=f"{PREFIX}-predict")["Versions"]
        assert [v["Version"] for v in versions] == ["$LATEST", "1", "2"]
    finally:
        iam.delete_role_policy(RoleName=QUEUE, PolicyName="emulator")
        stage.stage.apply(kept, lambda _: None)
        names = [f["FunctionName"] for f in client.list_functions()["Functions"]]
        if f"{PREFIX}-predict" in names:
            client.delete_function(FunctionName=f"{PREFIX}-predict")


def test_an_operators_change_scales_without_a_deployment(endpoint: Account) -> None:
    endpoint.tell(endpoint.register(1))
    endpoint.ends()
    ssm = endpoint.deployed.client("ssm")
    path = "/visionloop/dev/operator/Minimum-Inference-Units"
    try:
        ssm.put_parameter(Name=path, Value="3", Overwrite=True)
        event = {"detail-type": "Parameter Store Change", "source": "aws.ssm", "detail": {}}
        answer = endpoint.deployed.client("lambda").invoke(
            FunctionName=QUEUE, Payload=json.dumps(event)
        )
        assert json.loads(answer["Payload"].read()) == {"scaled": "3 to 4 instances"}
    finally:
        ssm.put_parameter(Name=path, Value="1", Overwrite=True)
    (scaled,) = endpoint.aws.sagemaker.scalable.values()
    assert scaled["MinCapacity"] == 3


def _put(iam: Any, policy: Json, name: str = "start") -> None:
    iam.put_role_policy(RoleName=QUEUE, PolicyName=name, PolicyDocument=json.dumps(policy))
