"""From an upload to one execution: rules, queue and function on emulators, IAM enforced."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ci.wake import wake
from components.retrain.tests.labels import manifest_of
from shared.component.annotation_manifest import Current, fingerprint
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import wait_for

pytestmark = pytest.mark.e2e
STATE = "retrain/state.json"


class Account:
    """What a test does to the account, and sees of it."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.s3 = deployed.client("s3")
        self.sagemaker = deployed.client("sagemaker")
        self.data = deployed.stage.bucket("data")
        self.artifacts = deployed.stage.bucket("artifacts")
        self.labels: dict[str, str] = {}

    def put(self, key: str, text: str = "") -> None:
        self.s3.put_object(Bucket=self.data, Key=key, Body=text.encode())

    def sync(self, numbers: range, text: str = "") -> None:
        """Write labels as the labeling component's merge does, in turn with the earlier ones."""
        labels = {f"{number:064x}": f"sea {text}" for number in numbers}
        self.labels |= labels
        data = manifest_of(self.labels).encode()
        current = Current(fingerprint(data), len(self.labels))
        self.put(f"labels/{current.manifest}", data.decode())
        self.put("labels/current.json", current.encode().decode())

    def tune(self, name: str, value: str) -> None:
        path = f"/visionloop/dev/operator/{name}"
        self.deployed.client("ssm").put_parameter(Name=path, Value=value, Overwrite=True)

    def executions(self) -> list[dict[str, Any]]:
        pages = self.sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=PREFIX
        )
        found = [summary for page in pages for summary in page["PipelineExecutionSummaries"]]
        return sorted(found, key=lambda summary: summary["StartTime"])

    def parameters(self, arn: str) -> dict[str, str]:
        answer = self.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
        return {p["Name"]: p["Value"] for p in answer["PipelineParameters"]}

    def looks(self) -> list[str]:
        """Return what the function has said of each look."""
        return self.said("outcome=")

    def said(self, words: str) -> list[str]:
        """Return the lines of the function's log with these words, the oldest first."""
        pages = (
            self.deployed.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=f"/aws/lambda/{PREFIX}-retrain")
        )
        events = [event for page in pages for event in page["events"]]
        return [event["message"] for event in events if words in event["message"]]

    def queue(self, name: str) -> dict[str, int]:
        sqs = self.deployed.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{PREFIX}-{name}")["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return {name: int(value) for name, value in found.items()}

    def settle(self) -> None:
        """Wait until the queue is empty and nobody holds a message."""
        wait_for(lambda: not any(self.queue("retrain.fifo").values()), "the queue is empty")

    def tick(self) -> str:
        """Wake the function as the scheduler does, and return what it said."""
        before = len(self.looks())
        self.send("tick")
        return str(wait_for(lambda: self.looks()[before:], "the function has looked")[-1])

    def send(self, wake: str) -> None:
        sqs = self.deployed.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{PREFIX}-retrain.fifo")["QueueUrl"]
        body = json.dumps({"wake": wake, "id": str(uuid.uuid4())})
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="retrain")

    def purge(self) -> None:
        """Forget messages that failed: the queue would bring them again in twelve minutes."""
        sqs = self.deployed.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{PREFIX}-retrain.fifo")["QueueUrl"]
        sqs.purge_queue(QueueUrl=url)

    def denials(self) -> list[str]:
        return self.said("AccessDenied")

    def started_by_ticks(self, count: int) -> None:
        """Tick until there are so many executions, as the scheduler would."""

        def is_there() -> bool:
            self.tick()
            return len(self.executions()) >= count

        wait_for(is_there, f"{count} executions")

    def empty(self, bucket: str) -> None:
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [entry["Key"] for entry in page.get("Contents", [])]
            keys = [{"Key": key} for key in keys if not key.startswith("functions/")]
            if keys:
                self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})


@pytest.fixture
def account(stage: Deployed) -> Iterator[Account]:
    """An account with the stacks, a pipeline, and neither data nor executions."""
    account = Account(stage)
    account.sagemaker.create_pipeline(
        PipelineName=PREFIX,
        PipelineDefinition="{}",
        ClientRequestToken="t" * 32,
        RoleArn=f"arn:aws:iam::123456789012:role/{PREFIX}-pipeline",
    )
    yield account
    account.tune("Enable-Automatic-Training", "false")
    account.empty(account.data)
    account.settle()
    account.empty(account.artifacts)
    account.tune("Enable-Automatic-Training", "true")
    account.sagemaker.delete_pipeline(PipelineName=PREFIX, ClientRequestToken="t" * 32)


@pytest.fixture
def trained(account: Account) -> Account:
    """An account whose first raw data set has had its run."""
    account.put("raw/scenes/train/sea/1.jpg", "image")
    account.put("raw/scenes/_SUCCESS")
    wait_for(account.executions, "the raw data set started a run")
    account.settle()
    return account


def test_a_raw_data_set_starts_one_execution_on_it(trained: Account) -> None:
    (execution,) = trained.executions()
    parameters = trained.parameters(execution["PipelineExecutionArn"])
    assert parameters == {
        "TrainDataset": f"s3://{trained.data}/raw/scenes",
        "MinMacroF1": "0.8",
    }


def test_500_labels_start_exactly_one_execution_however_often_they_are_merged(
    trained: Account,
) -> None:
    for start in range(0, 500, 100):
        trained.sync(range(start, start + 100))
    trained.settle()
    trained.started_by_ticks(2)
    for _ in range(3):
        assert "nothing_new" in trained.tick() or "not_due" in trained.tick()
    _, newest = trained.executions()
    parameters = trained.parameters(newest["PipelineExecutionArn"])
    manifest = manifest_of(trained.labels).encode()
    where = f"s3://{trained.data}/labels/{fingerprint(manifest)}.json"
    assert parameters["Annotations"] == where
    body = trained.s3.get_object(Bucket=trained.artifacts, Key=STATE)["Body"].read()
    state = json.loads(body)
    snapshot = state["started"]["snapshot"] if state["started"] else state["trained"]
    assert len(snapshot["labels"]) == 500


def test_corrections_start_one_more_and_writing_the_same_again_none(trained: Account) -> None:
    trained.sync(range(60))
    trained.started_by_ticks(2)
    trained.sync(range(35), "corrected")
    trained.started_by_ticks(3)
    trained.sync(range(35), "corrected")
    trained.settle()
    trained.tick()
    assert len(trained.executions()) == 3


def test_nine_labels_start_nothing(trained: Account) -> None:
    trained.sync(range(9))
    wait_for(lambda: "too_few" in trained.looks()[-1], "the function has looked")
    assert len(trained.executions()) == 1


def test_a_parameter_counts_without_a_deployment(trained: Account) -> None:
    trained.tune("Enable-Automatic-Training", "false")
    trained.sync(range(20))
    trained.settle()
    assert "outcome=off" in trained.looks()[-1]
    assert len(trained.executions()) == 1
    trained.tune("Enable-Automatic-Training", "true")
    trained.started_by_ticks(2)


def test_a_commit_starts_one_execution_on_the_present_data(trained: Account) -> None:
    """As the build's last command does it, with the function's own rights."""
    trained.sync(range(3))
    sqs = trained.deployed.client("sqs")
    for _ in range(2):  # a message that SQS brings twice
        wake(sqs, PREFIX, "commit", "b1946ac92492d2347c6235b4d2611184")
    wait_for(lambda: len(trained.executions()) == 2, "the commit started a run")
    trained.settle()
    for _ in range(2):
        trained.tick()
    assert len(trained.executions()) == 2
    _, newest = trained.executions()
    assert "Annotations" in trained.parameters(newest["PipelineExecutionArn"])


def test_events_twice_and_out_of_order_start_nothing_more(trained: Account) -> None:
    trained.sync(range(20))
    trained.started_by_ticks(2)
    for why in ("raw", "labels", "raw", "tick", "labels"):
        trained.tick() if why == "tick" else trained.send(why)
    trained.settle()
    assert len(trained.executions()) == 2


def test_what_goes_into_capture_and_artifacts_wakes_nobody(trained: Account) -> None:
    looks = len(trained.looks())
    for bucket in (trained.artifacts, trained.deployed.stage.bucket("capture")):
        trained.s3.put_object(Bucket=bucket, Key="labels/current.json", Body=b"{}")
        trained.s3.put_object(Bucket=bucket, Key="raw/x/_SUCCESS", Body=b"")
    trained.put("other/1")
    trained.put("annotations/1", "an answer that was not merged")
    trained.tick()
    assert len(trained.looks()) == looks + 1


@pytest.mark.parametrize(
    ("statement", "action"),
    [("ReadLabels", "s3:GetObject"), ("ListData", "s3:ListBucket"), ("State", "s3:GetObject")],
)
def test_without_a_permission_aws_says_which(trained: Account, statement: str, action: str) -> None:
    """The policy is needed as it is: what is taken away is missed, and named."""
    iam = trained.deployed.client("iam")
    name = {"RoleName": f"{PREFIX}-retrain", "PolicyName": "look-and-start"}
    policy = iam.get_role_policy(**name)["PolicyDocument"]
    less = [s for s in policy["Statement"] if s.get("Sid") != statement]
    assert len(less) == len(policy["Statement"]) - 1
    iam.put_role_policy(**name, PolicyDocument=json.dumps(policy | {"Statement": less}))
    before = len(trained.denials())
    try:
        trained.sync(range(1))
        said = wait_for(lambda: trained.denials()[before:], "AccessDenied in the log")
        assert action in said[-1]
    finally:
        iam.put_role_policy(**name, PolicyDocument=json.dumps(policy))
        trained.purge()
