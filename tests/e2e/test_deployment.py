"""From an approval to what serves: queue, function and state machine, IAM enforced.

MiniStack runs the stack's own queue, function and state machine; SageMaker and Lambda are the
fakes of components/deploy/tests, since moto lacks UpdateEndpoint and an image needs Docker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from components.deploy.tests.events import model_package_changed
from components.deploy.tests.fake_aws import FakeAws, serving
from components.deploy.tests.fake_lambda import FakeLambda
from components.deploy.tests.fake_sagemaker import Brain, FakeSageMaker, Json, answer
from components.deploy.tests.stage import IMAGE, broken, pack_model, package, sound
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import wait_for
from tests.e2e.lambda_front import lambda_front

pytestmark = pytest.mark.e2e
QUEUE = f"{PREFIX}-deploy"
_SECONDS = count(int(time.time()))  # each change of a package has a moment of its own


@dataclass
class Account:
    """What a test does to the account, and sees of it."""

    deployed: Deployed
    aws: FakeAws
    mailbox: str
    target: str
    before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = {e["executionArn"] for e in self._executions()}

    def register(self, version: int, brain: Brain = sound, status: str = "Approved") -> str:
        """Add a package whose model answers as `brain` does, and return its ARN."""
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{PREFIX}/{version}"
        bucket, key = self.deployed.stage.bucket("artifacts"), f"models/{version}/model.tar.gz"
        self.deployed.client("s3").put_object(Bucket=bucket, Key=key, Body=pack_model())
        self.aws.sagemaker.brains[f"s3://{bucket}/{key}"] = brain
        body = package(arn, version, status, f"s3://{bucket}/{key}")
        self.aws.sagemaker.packages[arn] = body | {"LastModifiedTime": float(next(_SECONDS))}
        return arn

    def set_status(self, arn: str, status: str) -> None:
        changed = {"ModelApprovalStatus": status, "LastModifiedTime": float(next(_SECONDS))}
        self.aws.sagemaker.packages[arn] |= changed

    def tell(self, *arns: str, times: int = 1) -> None:
        """Bring events to the queue, as the rule does; MiniStack takes none of aws.sagemaker."""
        sqs = self.deployed.client("sqs")
        url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
        for arn in arns:
            event = model_package_changed(self.aws.sagemaker.packages[arn])
            for _ in range(times):
                sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))

    def executions(self) -> dict[str, str]:
        """Return the status of this test's executions by their names, the oldest first."""
        found = [e for e in self._executions() if e["executionArn"] not in self.before]
        return {e["name"]: e["status"] for e in sorted(found, key=lambda e: e["startDate"])}

    def ends(self, number: int = 1) -> list[str]:
        """Wait until so many executions have ended and return the states they ended in."""

        def ended() -> bool:
            statuses = self.executions().values()
            return len(statuses) >= number and "RUNNING" not in statuses

        wait_for(ended, f"{number} executions ended: {self.executions()}")
        return [self.states(name)[-1] for name in self.executions()]

    def states(self, name: str) -> list[str]:
        """Return the states that an execution entered."""
        client = self.deployed.client("stepfunctions")
        arn = f"arn:aws:states:us-east-1:123456789012:execution:{QUEUE}:{name}"
        pages = client.get_paginator("get_execution_history").paginate(executionArn=arn)
        details = [e.get("stateEnteredEventDetails") for p in pages for e in p["events"]]
        return [detail["name"] for detail in details if detail]

    def notices(self) -> list[tuple[str, str]]:
        """Take the subjects and texts that came to the topic."""
        sqs = self.deployed.client("sqs")
        found = []
        while messages := sqs.receive_message(QueueUrl=self.mailbox, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                body = json.loads(message["Body"])
                found.append((body["Subject"], body["Message"]))
                sqs.delete_message(QueueUrl=self.mailbox, ReceiptHandle=message["ReceiptHandle"])
        return found

    def serves(self) -> int:
        """Return the version that gets the traffic, 0 for none."""
        if self.target == "lambda":
            functions = self.aws.functions
            if "live" not in functions.aliases:
                return 0
            alias = functions.aliases["live"]
            assert not (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
            name = functions.versions[alias["FunctionVersion"]]["Description"]
        else:
            endpoint = self.aws.sagemaker.endpoints.get(PREFIX)
            if endpoint is None:
                return 0
            assert endpoint["EndpointStatus"] == "InService"
            name = endpoint["EndpointConfigName"]
        return int(name.removeprefix(f"{PREFIX}-v").partition("-")[0])

    def _executions(self) -> list[dict[str, Any]]:
        client = self.deployed.client("stepfunctions")
        machine = f"arn:aws:states:us-east-1:123456789012:stateMachine:{QUEUE}"
        pages = client.get_paginator("list_executions").paginate(stateMachineArn=machine)
        return [execution for page in pages for execution in page["executions"]]


@contextmanager
def opened(deployed: Deployed, target: str) -> Iterator[Account]:
    """Point the function to a target on new fakes, and give the account."""
    brains: dict[str, Brain] = {}
    sqs, sns = deployed.client("sqs"), deployed.client("sns")
    mailbox = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    topic = f"arn:aws:sns:us-east-1:123456789012:{PREFIX}-notices"
    to = "arn:aws:sqs:us-east-1:123456789012:mailbox"
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": to,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=mailbox, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=to)
    fakes = FakeAws(FakeSageMaker(brains, looks=0), FakeLambda(brains, looks=0))
    with serving(fakes) as aws:
        _point(deployed, target, aws.url)
        account = Account(deployed, aws, mailbox, target)
        account.notices()
        yield account
        wait_for(lambda: "RUNNING" not in account.executions().values(), "nothing runs")


def _point(deployed: Deployed, target: str, url: str, lambda_url: str = "") -> None:
    client = deployed.client("lambda")
    environment = client.get_function_configuration(FunctionName=QUEUE)["Environment"]
    services = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "APPLICATION_AUTO_SCALING")
    client.update_function_configuration(
        FunctionName=QUEUE,
        Environment={
            "Variables": environment["Variables"]
            | {f"AWS_ENDPOINT_URL_{service}": url for service in services}
            | {
                "AWS_ENDPOINT_URL_LAMBDA": lambda_url or url,
                "VISIONLOOP_TARGET": target,
                "VISIONLOOP_PREDICT_IMAGE": IMAGE,
                "VISIONLOOP_CANARY_S": "1",
            }
        },
    )


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


def test_ten_tellings_of_one_approval_are_one_execution(endpoint: Account) -> None:
    endpoint.tell(endpoint.register(1), times=10)
    assert endpoint.ends() == ["Deployed"]
    _settle(endpoint)
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
                _point(stage, "lambda", account.aws.url, url)
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


def _settle(account: Account) -> None:
    """Wait until the queue is empty and nobody holds a message."""
    sqs = account.deployed.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return not any(int(value) for value in found.values())

    wait_for(is_empty, "the queue is empty")
