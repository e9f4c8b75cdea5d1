"""Clean-up removes all of ours, nothing of anybody else's, and proves it; against moto.

What moto lacks is made up for in cleanup_account.py, which says what.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from ci.cleanup import main
from ci.cleanup.command import kinds_of, remove_all, take_stock
from ci.cleanup.inventory import Aws, Scope
from ci.errors import CleanupError
from ci.problems import REPOSITORY
from ci.tests.cleanup_account import ACCOUNT, Faulty, connect, execution_of, fresh, furnish
from shared.pipeline.cost import load_prices

OURS = ("--project", "visionloop", "--stage", "dev")
REMOVE = (*OURS, "--yes", "--confirm", "visionloop")
TAGS = {"project": "visionloop", "stage": "dev"}
BUCKET = f"visionloop-dev-data-{ACCOUNT}-us-east-1"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with mock_aws():
        yield


@pytest.fixture
def ours() -> None:
    furnish("visionloop-dev", TAGS)
    for name in ("operator/X", "state"):
        connect("ssm").put_parameter(Name=f"/visionloop/dev/{name}", Value="1", Type="String")


@pytest.fixture
def neighbours() -> None:
    """Make another stage, one whose name goes on where ours ends, and things without tags."""
    furnish("visionloop-dev2", {"project": "visionloop", "stage": "dev2"})
    furnish("visionloop-dev-blue", {"project": "visionloop-dev", "stage": "blue"})
    furnish("visionloop-dev-untagged", {})
    furnish("other", TAGS)  # our tags alone are not enough either, but for the key
    for name in ("/visionloop/dev2/operator/X", "/visionloop/devX", "/other/dev/X"):
        connect("ssm").put_parameter(Name=name, Value="1", Type="String")


class Everybody(Scope):
    """Finds all whose name begins as ours: a census that does not trust the ownership rules."""

    def has_name(self, _: str) -> bool:
        return True

    def has_tags(self, _: Any) -> bool:
        return True


def census() -> set[str]:
    """Return everything in the account but keys and aliases, which are counted apart."""
    aws = Aws(Everybody("visionloop", "dev"), load_prices(), connect)
    found = {
        f"{kind.name} {item.id}"
        for kind, item in take_stock(kinds_of(aws, REPOSITORY)).found
        if kind.name not in ("key", "parameter", "log group")
    }
    groups = connect("logs").describe_log_groups()["logGroups"]
    parameters = connect("ssm").describe_parameters()["Parameters"]
    return (
        found
        | {f"log group {group['logGroupName']}" for group in groups}
        | {f"parameter {parameter['Name']}" for parameter in parameters}
    )


def _keys() -> dict[str, str]:
    kms = connect("kms")
    described = (kms.describe_key(KeyId=k["KeyId"])["KeyMetadata"] for k in kms.list_keys()["Keys"])
    return {key["Description"]: key["KeyState"] for key in described}


def test_all_of_ours_goes_and_nothing_of_the_neighbours(
    neighbours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = census()
    furnish("visionloop-dev", TAGS)
    connect("ssm").put_parameter(Name="/visionloop/dev/operator/X", Value="1", Type="String")
    assert len(census()) > len(theirs)
    assert main(REMOVE, connect=connect) == 0
    assert census() == theirs
    out = capsys.readouterr().out
    assert out.endswith("nothing of visionloop-dev is left\n")
    bucket = f"visionloop-dev-untagged-data-{ACCOUNT}-us-east-1"
    assert f"left alone: {bucket} has our name but nobody's tags" in out
    assert "left alone: visionloop-dev-blue-data" not in out  # it has tags: somebody else's


def test_a_search_goes_with_its_trials_and_their_logs(ours: None) -> None:
    furnish("visionloop-dev2", {"project": "visionloop", "stage": "dev2"})
    sagemaker, logs = connect("sagemaker"), connect("logs")

    def left() -> list[list[str]]:
        searches = sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
        trials = sagemaker.list_training_jobs(NameContains="-Tune-")["TrainingJobSummaries"]
        streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")
        return [
            sorted(search["HyperParameterTuningJobName"] for search in searches),
            sorted(trial["TrainingJobName"].removesuffix("-001") for trial in trials),
            sorted(
                stream["logStreamName"].removesuffix("-001/algo-1")
                for stream in streams["logStreams"]
                if "-Tune-" in stream["logStreamName"]
            ),
        ]

    before, _, _ = left()
    assert left() == [before] * 3
    assert len(before) == 2
    assert main(REMOVE, connect=connect) == 0
    (theirs,) = sagemaker.list_pipelines()["PipelineSummaries"]
    (execution,) = sagemaker.list_pipeline_executions(PipelineName=theirs["PipelineName"])[
        "PipelineExecutionSummaries"
    ]
    assert theirs["PipelineName"] == "visionloop-dev2"
    kept = [f"{execution['PipelineExecutionArn'].rpartition('/')[2]}-Tune-x"]
    assert left() == [kept] * 3


def test_only_keys_with_our_tags_are_scheduled_to_go(ours: None) -> None:
    furnish("visionloop-dev2", {"project": "visionloop", "stage": "dev2"})
    furnish("visionloop-dev-untagged", {})
    assert main(REMOVE, connect=connect) == 0
    assert _keys() == {
        "visionloop-dev": "PendingDeletion",
        "visionloop-dev2": "Enabled",
        "visionloop-dev-untagged": "Enabled",
    }


@pytest.mark.parametrize("mode", [(), ("--dry-run",)])
def test_without_yes_it_only_lists(
    ours: None, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = census()
    assert main((*OURS, *mode), connect=connect) == 0
    assert census() == before
    out = capsys.readouterr().out
    assert f"in account {ACCOUNT}" in out
    assert f"{BUCKET}  (3 B, 3 versions)" in out
    # Two machines of 0.115 for 730 hours, a key, an alarm; what runs is not known.
    assert "31 things, 169.00 USD a month" in out
    assert "   167.90    0 h  visionloop-dev  (2 x ml.m5.large)" in out


def test_the_listing_comes_as_json_too(ours: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main((*OURS, "--json"), connect=connect) == 0
    answer = json.loads(capsys.readouterr().out)
    (endpoint,) = (entry for entry in answer["found"] if entry["kind"] == "endpoint")
    assert endpoint["monthly_usd"] == pytest.approx(167.9)
    assert endpoint["created"]
    assert answer["found_not_listed"] == {}


def test_nothing_goes_unless_the_name_is_typed(ours: None) -> None:
    before = census()
    for typed in ("", "\n", "yes\n", "visionloop-dev\n", "Visionloop\n"):
        with pytest.raises(CleanupError, match="nothing was removed; type visionloop"):
            main((*OURS, "--yes"), connect=connect, read=io.StringIO(typed).readline)
    assert census() == before


def test_the_typed_name_is_enough(ours: None, capsys: pytest.CaptureFixture[str]) -> None:
    typed = io.StringIO("visionloop\n").readline
    assert main((*OURS, "--yes"), connect=connect, read=typed) == 0
    assert "type the project's name (visionloop): " in capsys.readouterr().err


def test_things_go_in_the_order_that_lets_them_go(
    ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(REMOVE, connect=connect) == 0
    lines = capsys.readouterr().err.splitlines()
    kinds = list(dict.fromkeys(line.rpartition(": ")[0].rpartition(" ")[0] for line in lines))
    order = (
        "deployment",
        "pipeline execution",
        "training job",
        "scalable target",
        "endpoint",
        "endpoint configuration",
        "model",
        "model package",
        "model package group",
        "pipeline",
        "rule",
        "stack",
        "bucket",
        "image repository",
        "log group",
        "parameter",
        "key",
    )
    assert [kind.split(" /")[0] for kind in kinds if kind in order] == list(order)
    stacks = [line.rpartition("-")[2] for line in lines if line.startswith("stack ")]
    assert stacks == ["observe", "registry", "foundation"]
    buckets = [line.split("-")[2] for line in lines if line.startswith("bucket ")]
    assert buckets == ["data", "logs"]


def test_interrupted_again_and_again_it_goes_on_until_nothing_is_left(
    ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut() -> BaseException:
        return EndpointConnectionError(endpoint_url="https://x")

    for _ in range(40):
        try:
            status = main(REMOVE, connect=Faulty(cut, at=4))
        except CleanupError as err:
            assert "run it again" in str(err)  # noqa: PT017 - most rounds raise, the last does not
        else:
            break
    assert status == 0
    assert census() == {"log group /aws/sagemaker/TrainingJobs"}  # the account's
    assert main(OURS, connect=connect) == 0
    assert capsys.readouterr().out.endswith(
        "0 things, 0.00 USD a month while nothing is asked of them\n"
    )


def test_an_interruption_by_hand_is_no_success(ours: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        main(REMOVE, connect=Faulty(KeyboardInterrupt, at=5))
    assert main(REMOVE, connect=connect) == 0


def _denying(service: str, operation: str) -> Callable[[str], Any]:
    """Return clients of which one call is refused."""

    class Denied:
        def __init__(self, client: Any) -> None:
            self.client = client

        def __getattr__(self, name: str) -> Any:
            if name == operation:
                return self.refuse
            return getattr(self.client, name)

        def get_paginator(self, name: str) -> Any:
            if name == operation:
                self.refuse()
            return self.client.get_paginator(name)

        def refuse(self, **_: Any) -> None:
            error = {"Code": "AccessDeniedException", "Message": f"may not {operation}"}
            raise ClientError({"Error": error}, operation)

    def made(name: str) -> Any:
        return Denied(connect(name)) if name == service else connect(name)

    return made


def test_what_may_not_be_listed_is_said_and_the_rest_goes(
    ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(REMOVE, connect=_denying("sqs", "list_queues")) == 1
    out = capsys.readouterr().out
    assert "not listed: queue:" in out
    assert "nothing of" not in out
    left = {line for line in census() if "TrainingJobs" not in line}
    assert {line.split("/")[-1] for line in left} == {"visionloop-dev-left.fifo"}


def test_what_may_not_be_removed_is_left_and_said_with_the_reason(
    ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(REMOVE, connect=_denying("kms", "schedule_key_deletion")) == 1
    out = capsys.readouterr().out
    assert out.count("left: ") == 1
    assert "may not schedule_key_deletion" in out


def test_a_dry_run_that_could_not_see_all_fails(ours: None) -> None:
    assert main(OURS, connect=_denying("ecr", "describe_repositories")) == 1


def test_one_key_that_hides_is_a_neighbours_but_where_all_hide_we_know_nothing(ours: None) -> None:
    listing = take_stock(kinds_of(_aws(_denying("kms", "describe_key")), REPOSITORY))
    assert "may not describe_key" in listing.unknown["key"]


@pytest.mark.parametrize("pipeline", ["acme-dev", "acme-dev2"])
def test_a_pipeline_that_pipeline_py_made_goes_by_its_exact_name(pipeline: str) -> None:
    tags = {"project": "visionloop", "pipeline": pipeline}  # as backends/sagemaker.py writes them
    connect("sagemaker").create_pipeline(
        PipelineName=pipeline,
        PipelineDefinition="{}",
        RoleArn="arn:aws:iam::123456789012:role/acme-dev-pipeline",
        ClientRequestToken="t" * 32,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    acme = ("--project", "acme", "--stage", "dev", "--yes", "--confirm", "acme")
    assert main(acme, connect=connect) == 0
    left = connect("sagemaker").list_pipelines()["PipelineSummaries"]
    assert [each["PipelineName"] for each in left] == ([] if pipeline == "acme-dev" else [pipeline])


def _aws(connected: Callable[[str], Any], **more: Any) -> Aws:
    return Aws(Scope("visionloop", "dev"), load_prices(), connected, **more)


def test_an_end_that_does_not_come_is_given_up_after_a_while(ours: None) -> None:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    def stubborn(service: str) -> Any:
        client = fresh(service)
        if service == "sagemaker":
            client.stop_pipeline_execution = lambda **_: None
        return client

    aws = _aws(stubborn, pause=pause, clock=lambda: now[0])
    kinds = [kind for kind in kinds_of(aws, REPOSITORY) if kind.name == "pipeline execution"]
    failures, left = remove_all(kinds, take_stock(kinds), io.StringIO())
    ((arn, reason),) = failures.items()
    assert "still there after 900 s; run the command again" in reason
    assert len(left.found) == 1
    assert execution_of(arn).pipeline_execution_status == "Executing"


def test_a_bucket_that_never_becomes_empty_is_given_up_with_the_reason(
    ours: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def filled(service: str) -> Any:
        client = fresh(service)
        if service == "s3":
            refuse = client.delete_bucket

            def delete_bucket(Bucket: str) -> Any:  # noqa: N803
                client.put_object(Bucket=Bucket, Key="late", Body=b"")
                return refuse(Bucket=Bucket)

            client.delete_bucket = delete_bucket
        return client

    assert main(REMOVE, connect=filled) == 1
    assert f"left: bucket {BUCKET}: cleanup: bucket {BUCKET} is filled" in capsys.readouterr().out


def test_a_thousand_and_more_versions_go() -> None:
    s3 = connect("s3")
    s3.create_bucket(Bucket=BUCKET)
    tags = {"TagSet": [{"Key": k, "Value": v} for k, v in TAGS.items()]}
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging=tags)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for number in range(1050):
        s3.put_object(Bucket=BUCKET, Key=str(number), Body=b"x")
    assert main(REMOVE, connect=connect) == 0
    assert s3.list_buckets()["Buckets"] == []


def test_repositories_below_the_project_go_by_their_stage() -> None:
    for name, stage in (("train", "dev"), ("evaluate", "dev2")):
        tags = [{"Key": "project", "Value": "visionloop"}, {"Key": "stage", "Value": stage}]
        connect("ecr").create_repository(repositoryName=f"visionloop/{name}", tags=tags)
    connect("ecr").create_repository(repositoryName="visionloop/untagged")
    assert main(REMOVE, connect=connect) == 0
    left = connect("ecr").describe_repositories()["repositories"]
    assert {r["repositoryName"] for r in left} == {"visionloop/evaluate", "visionloop/untagged"}


def test_project_and_stage_have_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(("--project", "visionloop"), connect=connect)
    assert end.value.code == 2
    capsys.readouterr()
