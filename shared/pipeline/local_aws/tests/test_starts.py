"""Executions that are started and stopped through the API."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.local_aws.tests.conftest import (
    PIPELINE,
    TOKEN,
    Place,
    client,
    wait_until,
)


def _start(sagemaker: Any, token: str = TOKEN, **values: str) -> str:
    parameters = [{"Name": name, "Value": value} for name, value in values.items()]
    answer = sagemaker.start_pipeline_execution(
        PipelineName=PIPELINE, PipelineParameters=parameters, ClientRequestToken=token
    )
    return str(answer["PipelineExecutionArn"])


def _status(sagemaker: Any, arn: str) -> str:
    answer = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    return str(answer["PipelineExecutionStatus"])


def _is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has collected yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def hanging(place: Place, tmp_path: Path) -> Place:
    """A place where a training with Optimizer=hang never ends."""
    place.workshop.environ["TEST_MARK"] = str(tmp_path / "mark")
    return place


def _pids(place: Place) -> list[int]:
    mark = Path(place.workshop.environ["TEST_MARK"])
    wait_until(lambda: mark.exists() and " " in mark.read_text())
    return [int(word) for word in mark.read_text().split()]


def test_an_execution_runs_once_however_often_one_token_asks(place: Place) -> None:
    sagemaker = place.client("sagemaker")
    arn = _start(sagemaker, TrainDataset="sample://api", Epochs="30")
    assert _start(sagemaker, TrainDataset="sample://api", Epochs="30") == arn
    with local_aws(place.workshop.settings, environ=place.workshop.environ) as url:
        assert _start(client(url, "sagemaker")) == arn  # by another server too
    wait_until(lambda: _status(sagemaker, arn) == "Succeeded")
    (run,) = place.workshop.backend.list(PIPELINE)
    assert run.parameters["TrainDataset"] == "sample://api"
    other = _start(sagemaker, TOKEN + "2", TrainDataset="sample://api", Epochs="30")
    assert other != arn
    wait_until(lambda: _status(sagemaker, other) == "Succeeded")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Epochs", "many", "Epochs"),
        ("Epoch", "1", "no parameter 'Epoch'"),
        ("--home", "x", "no parameter's name"),
    ],
)
def test_what_the_pipeline_refuses_is_refused_in_its_words(
    place: Place, name: str, value: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        _start(place.client("sagemaker"), **{name: value})
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert place.workshop.backend.list(PIPELINE) == []


def test_a_refused_token_may_ask_again(place: Place) -> None:
    sagemaker = place.client("sagemaker")
    with pytest.raises(ClientError):
        _start(sagemaker, Epochs="many")
    arn = _start(sagemaker, Epochs="30")
    wait_until(lambda: _status(sagemaker, arn) == "Succeeded")


def _messages(place: Place, arn: str) -> list[str]:
    """Return the log of the training that runs, found as an operator's page finds it."""
    steps = place.client("sagemaker").list_pipeline_execution_steps(PipelineExecutionArn=arn)
    (train,) = [each for each in steps["PipelineExecutionSteps"] if each["StepName"] == "Train"]
    name = train["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    job = place.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "InProgress"
    logs, group = place.client("logs"), "/aws/sagemaker/TrainingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")[
        "logStreams"
    ]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
    return [event["message"] for event in events["events"]]


def test_a_stopped_execution_is_stopping_then_stopped_and_leaves_nothing(hanging: Place) -> None:
    sagemaker = hanging.client("sagemaker")
    arn = _start(sagemaker, Optimizer="hang")
    pids = _pids(hanging)
    assert _messages(hanging, arn) == ["epoch=1 val_f1=0.71", "progress=3/4 unit=batches"]
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=TOKEN)
    assert _status(sagemaker, arn) in ("Stopping", "Stopped")
    wait_until(lambda: _status(sagemaker, arn) == "Stopped")
    wait_until(lambda: not any(map(_is_alive, pids)))
    with pytest.raises(ClientError, match="is Stopped"):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=TOKEN)


def test_a_run_goes_on_when_the_server_ends(hanging: Place) -> None:
    with local_aws(hanging.workshop.settings, environ=hanging.workshop.environ) as url:
        arn = _start(client(url, "sagemaker"), Optimizer="hang")
        (execution,) = hanging.workshop.backend.list(PIPELINE)
    try:
        assert os.getsid(execution.process_id) == execution.process_id
        assert _status(hanging.client("sagemaker"), arn) == "Executing"
        _pids(hanging)
    finally:
        os.kill(execution.process_id, signal.SIGTERM)
    wait_until(lambda: _status(hanging.client("sagemaker"), arn) == "Stopped")


def test_a_number_that_is_another_processs_by_now_gets_no_signal(hanging: Place) -> None:
    sagemaker = hanging.client("sagemaker")
    arn = _start(sagemaker, Optimizer="hang")
    _pids(hanging)
    (execution,) = hanging.workshop.backend.list(PIPELINE)
    folder = hanging.home / "executions" / PIPELINE / execution.id
    true, execution.process_id = execution.process_id, os.getpid()
    execution.save(folder)
    with pytest.raises(ClientError, match="is not the one that runs it"):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=TOKEN)
    os.kill(true, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(true))
