"""What pipelines left, as boto3 sees it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.pipeline.local_aws.tests.conftest import PIPELINE, Place
from shared.pipeline.registry import is_missing


def _executions(ran: Place, **more: Any) -> list[dict[str, Any]]:
    answer = ran.client("sagemaker").list_pipeline_executions(PipelineName=PIPELINE, **more)
    return list(answer["PipelineExecutionSummaries"])


def _steps(ran: Place, execution: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pages = ran.client("sagemaker").get_paginator("list_pipeline_execution_steps")
    arn = execution["PipelineExecutionArn"]
    found = pages.paginate(PipelineExecutionArn=arn, PaginationConfig={"PageSize": 2})
    return {step["StepName"]: step for page in found for step in page["PipelineExecutionSteps"]}


def test_executions_come_newest_first_and_in_pages(ran: Place) -> None:
    found = _executions(ran)
    assert [each["PipelineExecutionStatus"] for each in found] == [
        "Failed",
        "Succeeded",
        "Succeeded",
    ]
    times = [each["StartTime"] for each in found]
    assert times == sorted(times, reverse=True)
    pages = ran.client("sagemaker").get_paginator("list_pipeline_executions")
    cut = pages.paginate(PipelineName=PIPELINE, PaginationConfig={"PageSize": 1})
    assert [each for page in cut for each in page["PipelineExecutionSummaries"]] == found
    assert _executions(ran, SortOrder="Ascending") == found[::-1]
    assert _executions(ran, CreatedAfter=times[1]) == found[:1]


def test_steps_tell_how_they_ended_and_what_ran_them(ran: Place) -> None:
    first = _executions(ran)[-1]
    steps = _steps(ran, first)
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert "GatesFailed" not in steps  # it was never reached, so SageMaker does not tell of it
    assert steps["GatesPassed"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert ":processing-job/" in steps["Evaluate"]["Metadata"]["ProcessingJob"]["Arn"]
    assert ":training-job/" in steps["Train"]["Metadata"]["TrainingJob"]["Arn"]
    assert steps["RegisterModel"]["Metadata"]["RegisterModel"]["Arn"].endswith("visionloop/1")
    assert steps["Train"]["StartTime"] <= steps["Train"]["EndTime"]


def test_a_step_from_the_cache_names_the_job_that_did_it(ran: Place) -> None:
    second, first = _executions(ran)[1:]
    hit, did = _steps(ran, second)["Train"], _steps(ran, first)["Train"]
    source = {"SourcePipelineExecutionArn": first["PipelineExecutionArn"]}
    assert hit["CacheHitResult"] == source
    assert hit["Metadata"] == did["Metadata"]


def test_a_failed_execution_says_why(ran: Place) -> None:
    failed = _executions(ran)[0]
    answer = ran.client("sagemaker").describe_pipeline_execution(
        PipelineExecutionArn=failed["PipelineExecutionArn"]
    )
    assert answer["FailureReason"].startswith("A gate failed")
    steps = _steps(ran, failed)
    assert steps["GatesFailed"]["FailureReason"] == answer["FailureReason"]
    assert steps["GatesFailed"]["Metadata"]["Fail"]["ErrorMessage"] == answer["FailureReason"]


def test_jobs_say_where_their_outputs_are(ran: Place) -> None:
    client, store = ran.client("sagemaker"), ran.workshop.backend.store
    steps = _steps(ran, _executions(ran)[1])  # from the cache, so of the first execution
    name = steps["Evaluate"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    job = client.describe_processing_job(ProcessingJobName=name)
    outputs = {
        each["OutputName"]: each["S3Output"]["S3Uri"]
        for each in job["ProcessingOutputConfig"]["Outputs"]
    }
    assert (store.path(outputs["metrics"]) / "evaluation.json").is_file()
    name = steps["Train"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    training = client.describe_training_job(TrainingJobName=name)
    assert store.path(training["ModelArtifacts"]["S3ModelArtifacts"]).is_file()
    assert training["TrainingJobStatus"] == "Completed"


def test_the_definition_is_the_document_that_was_upserted(ran: Place) -> None:
    client = ran.client("sagemaker")
    described = client.describe_pipeline(PipelineName=PIPELINE)
    file = ran.home / "pipelines" / f"{PIPELINE}.json"
    assert described["PipelineDefinition"] == file.read_text()
    (listed,) = client.list_pipelines()["PipelineSummaries"]
    assert listed["PipelineName"] == PIPELINE
    assert listed["LastExecutionTime"] == described["LastRunTime"]


def test_parameters_are_those_of_the_execution_as_text(ran: Place) -> None:
    arn = _executions(ran)[0]["PipelineExecutionArn"]
    answer = ran.client("sagemaker").list_pipeline_parameters_for_execution(
        PipelineExecutionArn=arn
    )
    values = {each["Name"]: each["Value"] for each in answer["PipelineParameters"]}
    assert values["Epochs"] == "1"
    assert values["Seed"] == "0"


def test_the_log_of_a_step_is_its_jobs_stream(ran: Place) -> None:
    logs, group = ran.client("logs"), "/aws/sagemaker/TrainingJobs"
    step = _steps(ran, _executions(ran)[-1])["Train"]
    name = step["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")[
        "logStreams"
    ]
    asked = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
    head = logs.get_log_events(**asked, limit=1, startFromHead=True)
    assert [event["message"] for event in head["events"]] == ["epoch=1 val_f1=0.71"]
    rest = logs.get_log_events(**asked, nextToken=head["nextForwardToken"])
    assert [event["message"] for event in rest["events"]] == ["progress=3/4 unit=batches"]
    end = logs.get_log_events(**asked, nextToken=rest["nextForwardToken"])
    assert end["events"] == []
    assert end["nextForwardToken"] == rest["nextForwardToken"]  # so boto3's users know the end
    last = logs.get_log_events(**asked, limit=1)
    assert last["events"] == rest["events"]
    back = logs.get_log_events(**asked, limit=1, nextToken=last["nextBackwardToken"])
    assert back["events"] == head["events"]
    second = datetime.fromtimestamp(head["events"][0]["timestamp"] / 1000, UTC)
    assert abs(second - step["StartTime"]) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("describe_pipeline", {"PipelineName": "none"}),
        ("list_pipeline_executions", {"PipelineName": "none"}),
        ("describe_model_package", {"ModelPackageName": "none"}),
        ("describe_processing_job", {"ProcessingJobName": "0-none"}),
        ("describe_training_job", {"TrainingJobName": "0-none"}),
        ("describe_endpoint", {"EndpointName": "none"}),
        ("describe_endpoint_config", {"EndpointConfigName": "none"}),
        ("describe_model", {"ModelName": "none"}),
        (
            "describe_pipeline_execution",
            {
                "PipelineExecutionArn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/"
                "visionloop/execution/000000000000"
            },
        ),
    ],
)
def test_what_is_missing_is_said_as_aws_says_it(
    ran: Place, operation: str, asked: dict[str, str]
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(ran.client("sagemaker"), operation)(**asked)
    assert is_missing(refused.value)


def test_an_execution_whose_process_is_gone_has_no_running_step(place: Place) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/00000000000a"
    _write(place.home, arn, process_id=2**22 + 1)  # beyond Linux's largest number
    client = place.client("sagemaker")
    answer = client.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert answer["PipelineExecutionStatus"] == "Stopped"
    (step,) = client.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"
    ]
    assert step["StepStatus"] == "Stopped"


def _write(home: Path, arn: str, process_id: int) -> None:
    folder = home / "executions" / "p" / arn.rpartition("/")[2]
    folder.mkdir(parents=True)
    start = "2030-01-01T00:00:00.000+00:00"
    step = {"name": "Train", "type": "Training", "status": "Executing", "start": start}
    document = {
        "pipeline": "p",
        "arn": arn,
        "start": start,
        "process_id": process_id,
        "steps": {"Train": step},
    }
    (folder / "execution.json").write_text(json.dumps(document))
