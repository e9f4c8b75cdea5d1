"""A whole stage deployed by `ci deploy` and removed by `ci cleanup`; a neighbour stays.

In emulators of its own, since the others' stage has to live. MiniStack knows no scaling:
moto is asked about that, as about SageMaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ci.cleanup import main
from ci.deploy import Stage
from tests.e2e.conftest import GIVEN, PREFIX, write_repository
from tests.e2e.emulators import ACCOUNT, MINISTACK, REGION, Emulators, running_emulators

pytestmark = pytest.mark.e2e
REMOVE = ["--project", "visionloop", "--stage", "dev", "--yes", "--confirm", "visionloop"]
NEIGHBOUR = f"visionloop-dev2-data-{ACCOUNT}-{REGION}"
# Where anything of ours would show by its name, tagged or not.
LISTINGS = {
    "iam": ("list_roles", "Roles", "RoleName"),
    "events": ("list_rules", "Rules", "Name"),
    "lambda": ("list_functions", "Functions", "FunctionName"),
    "stepfunctions": ("list_state_machines", "stateMachines", "name"),
    "scheduler": ("list_schedules", "Schedules", "Name"),
    "cloudwatch": ("describe_alarms", "MetricAlarms", "AlarmName"),
    "logs": ("describe_log_groups", "logGroups", "logGroupName"),
    "ssm": ("describe_parameters", "Parameters", "Name"),
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    if not MINISTACK.exists():
        pytest.skip("MiniStack is not installed: make .venv-tools/ministack/.ready")
    with running_emulators(tmp_path_factory.mktemp("own")) as emulators:
        root = tmp_path_factory.mktemp("repository")
        write_repository(root)
        stage = Stage(
            "visionloop", "dev", emulators.client, root, root / "none", pause=lambda _: None
        )
        stage.apply(GIVEN, lambda _: None)
        tag_buckets(emulators)
        yield emulators


def tag_buckets(emulators: Emulators) -> None:
    """Give buckets their stack's tags, as CloudFormation does and MiniStack does not."""
    s3 = emulators.client("s3")
    tags = [{"Key": "project", "Value": "visionloop"}, {"Key": "stage", "Value": "dev"}]
    for bucket in s3.list_buckets()["Buckets"]:
        s3.put_bucket_tagging(Bucket=bucket["Name"], Tagging={"TagSet": tags})


def _connect(emulators: Emulators, service: str) -> Any:
    if service == "application-autoscaling":
        import boto3

        keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "test"}
        return boto3.client(service, REGION, endpoint_url=emulators.moto, **keys)
    return emulators.client(service)


def test_without_yes_a_stage_is_listed_and_stays(
    own: Emulators, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(REMOVE[:4], connect=lambda service: _connect(own, service)) == 0
    out = capsys.readouterr().out
    for thing in (f"{PREFIX}-triggers", f"{PREFIX}-retrain", f"{PREFIX}-data-{ACCOUNT}"):
        assert thing in out
    stacks = own.client("cloudformation").list_stacks()["StackSummaries"]
    assert {stack["StackStatus"] for stack in stacks} == {"CREATE_COMPLETE"}
    assert own.client("kms").list_keys()["Keys"]


def test_a_deployed_stage_goes_whole_and_a_neighbour_stays(
    own: Emulators, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = own.client("s3")
    s3.create_bucket(Bucket=NEIGHBOUR)
    data = f"{PREFIX}-data-{ACCOUNT}-{REGION}"
    for body in (b"1", b"22"):
        for bucket in (NEIGHBOUR, data):
            s3.put_object(Bucket=bucket, Key="raw/a", Body=body)
    s3.delete_object(Bucket=data, Key="raw/a")
    assert main(REMOVE, connect=lambda service: _connect(own, service)) == 0
    said = capsys.readouterr()
    assert said.out.endswith(f"nothing of {PREFIX} is left\n")
    removed = [line for line in said.err.splitlines() if line.startswith("stack ")]
    assert [line.rpartition("-")[2] for line in removed[:: len(removed) - 1]] == [
        "ci",
        "foundation",
    ]
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [NEIGHBOUR]
    for service, (operation, key, name) in LISTINGS.items():
        found = getattr(own.client(service), operation)()[key]
        assert [each[name] for each in found if PREFIX in each[name]] == [], service
    kms = own.client("kms")
    keys = [kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"] for k in kms.list_keys()["Keys"]]
    assert {key["KeyState"] for key in keys if key["Description"] == PREFIX} == {"PendingDeletion"}
