"""A SageMaker tuning job gives the same record; botocore holds the answers to the API's shapes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from components.tune.component import find_record
from components.tune.tests.searches import RANGES
from shared.component.errors import InputError

NAME = "abc123-Search-xyz"
BEGUN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
ARN = "arn:aws:sagemaker:us-east-1:123456789012"


def _client() -> Any:
    return boto3.client(
        "sagemaker",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )


def _job(**more: Any) -> dict[str, Any]:
    objective = {"Type": "Maximize", "MetricName": "val_accuracy"}
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}
    return {
        "HyperParameterTuningJobName": NAME,
        "HyperParameterTuningJobArn": f"{ARN}:hyper-parameter-tuning-job/{NAME}",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": limits,
            "ParameterRanges": RANGES,
            "RandomSeed": 3,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"epochs": "4", "_tuning_objective_metric": "val_accuracy"},
            "AlgorithmSpecification": {"TrainingImage": "train:abc", "TrainingInputMode": "File"},
            "RoleArn": "arn:aws:iam::123456789012:role/visionloop",
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/training"},
            "StoppingCondition": {},
        },
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": BEGUN,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
        "BestTrainingJob": _training("b", "Completed", 0.9),
    } | more


def _training(name: str, status: str, value: float | None = None, **more: Any) -> dict[str, Any]:
    metric = {"MetricName": "val_accuracy", "Value": value}
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"{ARN}:training-job/{name}",
        "CreationTime": BEGUN,
        "TrainingStartTime": BEGUN,
        "TrainingEndTime": BEGUN + timedelta(seconds=90),
        "TrainingJobStatus": status,
        "TunedHyperParameters": {
            "model_name": "small",
            "optimizer": "sgd",
            "learning_rate": "0.0012345678",
        },
        **({"FinalHyperParameterTuningJobObjectiveMetric": metric} if value is not None else {}),
        **more,
    }


TRAININGS = [
    _training("a", "Stopped", 0.4),
    _training("b", "Completed", 0.9),
    _training("c", "Failed", FailureReason="train: out of memory"),
    _training("d", "InProgress"),
    _training("e", "Completed", 0.7),
]


@pytest.mark.parametrize(
    "place", [NAME, f"s3://bucket/visionloop-tune/training/{NAME}/trials.json"]
)
def test_a_tuning_job_is_read_by_its_name(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISIONLOOP_S3_ROOT", raising=False)
    client = _client()
    with Stubber(client) as stub:
        asked = {"HyperParameterTuningJobName": NAME}
        stub.add_response("describe_hyper_parameter_tuning_job", _job(), asked)
        listing = "list_training_jobs_for_hyper_parameter_tuning_job"
        order = asked | {"SortBy": "CreationTime", "SortOrder": "Ascending"}
        first = {"TrainingJobSummaries": TRAININGS[:2], "NextToken": "more"}
        stub.add_response(listing, first, order)
        stub.add_response(
            listing, {"TrainingJobSummaries": TRAININGS[2:]}, order | {"NextToken": "more"}
        )
        record = find_record(place, client)
        stub.assert_no_pending_responses()
    assert [(t.number, t.state, t.value) for t in record.trials] == [
        (1, "pruned", 0.4),
        (2, "complete", 0.9),
        (3, "failed", None),
        (5, "complete", 0.7),
    ]
    assert [trial.number for trial in record.ranked] == [2, 5, 1, 3]
    assert record.best.number == 2
    assert record.trials[2].reason == "train: out of memory"
    assert record.best.seconds == 90
    assert (record.metric, record.seed, record.code) == ("val_accuracy", 3, "train:abc")
    assert record.fixed == {"epochs": "4"}, "the tuner's own are left out"
    assert [dimension.name for dimension in record.space] == [
        *("model_name", "optimizer", "learning_rate")
    ]
    assert record.before is None, "SageMaker's tuner takes no first guess"


def test_a_job_that_is_not_there_or_has_no_winner_is_named() -> None:
    client = _client()
    with Stubber(client) as stub:
        stub.add_client_error("describe_hyper_parameter_tuning_job", "AccessDeniedException", "no")
        with pytest.raises(InputError, match=f"cannot read the tuning job {NAME}: .*AccessDenied"):
            find_record(NAME, client)
    with Stubber(client) as stub:
        job = {key: value for key, value in _job().items() if key != "BestTrainingJob"}
        stub.add_response("describe_hyper_parameter_tuning_job", job)
        listing = "list_training_jobs_for_hyper_parameter_tuning_job"
        stub.add_response(listing, {"TrainingJobSummaries": TRAININGS[2:3]})
        with pytest.raises(InputError, match="has no best training"):
            find_record(NAME, client)
