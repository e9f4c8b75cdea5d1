"""An account with the stack `deploy` in it, for tests/e2e/test_deployment.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from components.deploy.tests.events import model_package_changed
from components.deploy.tests.fake_aws import FakeAws, serving
from components.deploy.tests.fake_lambda import FakeLambda
from components.deploy.tests.fake_sagemaker import Brain, FakeSageMaker
from components.deploy.tests.stage import IMAGE, pack_model, package, sound
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import wait_for

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
        point(deployed, target, aws.url)
        account = Account(deployed, aws, mailbox, target)
        account.notices()
        yield account
        wait_for(lambda: "RUNNING" not in account.executions().values(), "nothing runs")


def point(deployed: Deployed, target: str, url: str, lambda_url: str = "") -> None:
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


def settle(account: Account) -> None:
    """Wait until the queue is empty and nobody holds a message."""
    sqs = account.deployed.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return not any(int(value) for value in found.values())

    wait_for(is_empty, "the queue is empty")
