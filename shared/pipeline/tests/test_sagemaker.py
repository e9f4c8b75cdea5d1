"""The sagemaker backend: over real HTTP against moto, and against a fake for what moto lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest

from shared.pipeline.backends.sagemaker import SageMakerBackend
from shared.pipeline.settings import Settings
from shared.pipeline.tests.conftest import Workshop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # moto's and flask's own
ROLE = "arn:aws:iam::123456789012:role/visionloop"


@pytest.fixture
def aws(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """Give the workshop an AWS of its own on a free port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # It remembers for the whole process what another test has told it.
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    environ = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "VISIONLOOP_ROLE": ROLE,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # boto3 reads the process's environment
        workshop.environ[name] = value
    yield workshop
    server.stop()


@pytest.mark.parametrize(
    ("project", "name", "stage"),
    [
        ("visionloop", "visionloop-dev", "dev"),
        ("visionloop", "scenes", None),
        ("a-b", "a-b-x", "x"),
    ],
)
def test_a_pipeline_is_tagged_so_that_clean_up_finds_it(
    aws: Workshop, project: str, name: str, stage: str | None
) -> None:
    aws.environ["VISIONLOOP_PROJECT"] = project
    aws.run("--upsert", "--name", name)
    client = boto3.Session(region_name="us-east-1").client("sagemaker")
    arn = client.describe_pipeline(PipelineName=name)["PipelineArn"]
    tags = {tag["Key"]: tag["Value"] for tag in client.list_tags(ResourceArn=arn)["Tags"]}
    wanted = {"project": project, "managed-by": "visionloop"}
    assert tags == wanted | ({"stage": stage} if stage else {})


def test_upserts_starts_lists_and_approves_over_http(aws: Workshop) -> None:
    assert aws.run("--upsert") == (0, "pipeline visionloop: created\n")
    assert aws.run("--upsert") == (0, "pipeline visionloop: unchanged\n")
    client = boto3.Session(region_name="us-east-1").client("sagemaker")
    described = client.describe_pipeline(PipelineName="visionloop")
    assert described["RoleArn"] == ROLE
    assert "s3://sagemaker-us-east-1-123456789012/visionloop" in described["PipelineDefinition"]

    source = aws.root / "components" / "train" / "component.py"
    source.write_text(source.read_text() + "\n# changed\n")
    assert aws.run("--upsert") == (0, "pipeline visionloop: updated\n")

    arn = _register(client)
    aws.run("--approve", arn, "--comment", "good")
    status, out = aws.run("--start", "-p", "Epochs=3")
    assert status == 0
    assert re.search(r"execution arn:aws:sagemaker:us-east-1:123456789012:pipeline/visionloop", out)
    [summary] = client.list_pipeline_executions(PipelineName="visionloop")[
        "PipelineExecutionSummaries"
    ]
    sent = client.list_pipeline_parameters_for_execution(
        PipelineExecutionArn=summary["PipelineExecutionArn"]
    )["PipelineParameters"]
    assert {"Name": "Epochs", "Value": "3"} in sent
    assert {"Name": "Champion", "Value": "s3://bucket/model.tar.gz"} in sent

    status, out = aws.run("--list")
    assert status == 0
    assert "Succeeded" in out
    assert f"{arn}  Approved" in out


def test_follows_an_execution_to_its_end_without_losing_patience() -> None:
    client = FakeClient(["Executing"] * 300 + ["Failed"])
    pauses: list[float] = []
    backend = SageMakerBackend(client, Settings(), pauses.append)  # type: ignore[arg-type]
    execution = backend.start("visionloop", {"Epochs": 3}, lambda _: None)
    seen: list[str] = []
    execution = backend.wait(execution, lambda now: seen.append(now.steps["Train"].status))
    assert execution.status == "Failed"
    assert execution.reason == "no capacity"
    assert sum(pauses) > 1800  # the SDK's own wait gives up after half an hour
    assert seen[0] == "Executing"
    assert execution.steps["Preprocess"].cached_from.endswith("/old")
    assert execution.steps["Gates"].outcome == "False"


def test_an_execution_id_is_enough_to_describe() -> None:
    backend = SageMakerBackend(FakeClient(["Succeeded"]), Settings())  # type: ignore[arg-type]
    execution = backend.describe("visionloop", "abc")
    assert (
        execution.arn
        == "arn:aws:sagemaker:us-east-1:000000000000:pipeline/visionloop/execution/abc"
    )


def test_a_local_path_is_refused_before_anything_is_sent(
    aws: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = aws.run("--start", "-p", f"TrainDataset={aws.root}")
    assert status == 2
    assert "aws s3 cp" in capsys.readouterr().err


def test_a_run_says_what_it_may_cost_before_it_starts(aws: Workshop) -> None:
    status, out = aws.run("--upsert", "--start", "--name", "priced")
    assert status == 0
    estimate, upserted, started = out.splitlines()
    assert re.fullmatch(r"estimate: at most \d+\.\d\d USD on demand, .*", estimate)
    assert upserted == "pipeline priced: created"
    assert started.startswith("execution arn:")


@pytest.mark.parametrize("by", ["flag", "environment", "machines"])
def test_a_run_above_the_limit_is_refused_before_anything_is_sent(
    aws: Workshop, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    arguments = {
        "flag": ["--max-cost", "1"],
        "environment": [],
        "machines": ["-p", "TrainInstanceCount=20"],
    }[by]
    if by == "environment":
        aws.environ["VISIONLOOP_MAX_COST"] = "1"
    status, _ = aws.run("--upsert", "--start", "--name", "dear", *arguments)
    assert status == 1
    assert "more than the limit of" in capsys.readouterr().err
    client = boto3.Session(region_name="us-east-1").client("sagemaker")
    assert client.list_pipelines(PipelineNamePrefix="dear")["PipelineSummaries"] == []


def test_a_search_is_priced_by_its_trials_and_started_beside_its_pipeline(
    aws: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["--tune", "--name", "visionloop-dev"]
    assert aws.run(*search)[0] == 1
    assert "most of it Search: 20 x ml.g5.xlarge for 4 h" in capsys.readouterr().err
    status, out = aws.run(*search, "-p", "Trials=2")
    assert status == 0
    assert "pipeline visionloop-dev-tune: created" in out
    client = boto3.Session(region_name="us-east-1").client("sagemaker")
    known = client.describe_pipeline(PipelineName="visionloop-dev-tune")
    tags = client.list_tags(ResourceArn=known["PipelineArn"])["Tags"]
    assert {"Key": "stage", "Value": "dev"} in tags, "so that clean-up finds it"
    frozen = "/visionloop-dev/frozen-test"  # all of a problem share one test set
    assert frozen in known["PipelineDefinition"]


def test_a_machine_without_a_price_needs_a_word(
    aws: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = ["--name", "new", "-p", "TrainInstanceType=ml.new"]
    assert aws.run("--upsert", "--start", *machine)[0] == 1
    assert "no price for ml.new" in capsys.readouterr().err
    status, out = aws.run("--upsert", "--start", *machine, "--max-cost", "inf")
    assert status == 0
    assert out.startswith("estimate: unknown (cost: no price for ml.new")


def test_nothing_is_estimated_where_nothing_starts_or_this_machine_runs_it(
    aws: Workshop,
) -> None:
    aws.environ["VISIONLOOP_MAX_COST"] = "0"
    assert aws.run("--upsert", "--name", "kept") == (0, "pipeline kept: created\n")
    status, out = aws.start()
    assert status == 0
    assert "estimate:" not in out


def test_a_missing_role_is_one_line(aws: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    del aws.environ["VISIONLOOP_ROLE"]
    status, _ = aws.run("--upsert")
    assert status == 1
    error = capsys.readouterr().err
    assert error.startswith("error: sagemaker: no execution role; set VISIONLOOP_ROLE")
    assert error.count("\n") == 1


def test_without_credentials_one_line_names_the_local_backend(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(workshop.root / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(workshop.root / "none"))
    status, _ = workshop.run("--upsert", "--start")
    assert status == 1
    error = capsys.readouterr().err
    assert "no AWS credentials" in error
    assert "--backend local" in error
    assert error.count("\n") == 1


def _register(client: Any) -> str:
    client.create_model_package_group(ModelPackageGroupName="visionloop")
    return str(
        client.create_model_package(
            ModelPackageGroupName="visionloop",
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": "image", "ModelDataUrl": "s3://bucket/model.tar.gz"}],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )["ModelPackageArn"]
    )


class FakeClient:
    """Answers like SageMaker; the execution takes one state after the other."""

    PIPELINE = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/visionloop"

    def __init__(self, states: list[str]) -> None:
        self.states = iter(states)

    def start_pipeline_execution(self, **request: Any) -> dict[str, str]:
        assert len(request["ClientRequestToken"]) >= 32
        assert request["PipelineParameters"] == [{"Name": "Epochs", "Value": "3"}]
        return {"PipelineExecutionArn": f"{self.PIPELINE}/execution/abc"}

    def describe_pipeline(self, **_: Any) -> dict[str, str]:
        return {"PipelineArn": self.PIPELINE}

    def describe_pipeline_execution(self, **_: Any) -> dict[str, Any]:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        state = next(self.states)
        reason = {"FailureReason": "no capacity"} if state == "Failed" else {}
        return {"PipelineExecutionStatus": state, "CreationTime": now, **reason}

    def get_paginator(self, operation: str) -> FakeClient:
        assert operation == "list_pipeline_execution_steps"
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        times = {"StartTime": now, "EndTime": now + timedelta(seconds=5)}
        old = {"SourcePipelineExecutionArn": f"{self.PIPELINE}/execution/old"}
        steps = [
            {"StepName": "Preprocess", "StepStatus": "Succeeded", "CacheHitResult": old, **times},
            {"StepName": "Train", "StepStatus": "Executing", "StartTime": now},
            {
                "StepName": "Gates",
                "StepStatus": "Succeeded",
                "Metadata": {"Condition": {"Outcome": "False"}},
            },
        ]
        return [{"PipelineExecutionSteps": steps}]
