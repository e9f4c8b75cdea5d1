"""Read a SageMaker hyperparameter tuning job as a record of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.tune.record import Record, Trial, space_of
from shared.component.errors import InputError

# A trial that the tuner's early stopping ended is Stopped.
_STATES = {"Completed": "complete", "Stopped": "pruned", "Failed": "failed"}


def read_tuning_job(client: Any, name: str, component: str) -> Record:
    """Return what a tuning job has tried; `client` is boto3's of SageMaker.

    component: whose trainings they were.

    Raises:
        InputError: there is no such job, it may not be read, or no training has ended well.
    """
    try:
        job = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending"
        )
        summaries = [summary for page in pages for summary in page["TrainingJobSummaries"]]
    except (ClientError, BotoCoreError) as err:
        raise InputError(
            f"tune: cannot read the tuning job {name}: {err}; give trials.json or the name of a "
            "job that the role may describe"
        ) from err
    config, definition = job["HyperParameterTuningJobConfig"], job["TrainingJobDefinition"]
    trials = [_trial(number, summary) for number, summary in enumerate(summaries, 1)]
    best = job.get("BestTrainingJob", {}).get("TrainingJobName")
    names = [summary["TrainingJobName"] for summary in summaries]
    if best not in names:
        raise InputError(f"tune: the tuning job {name} has no best training; see its failures")
    objective = config["HyperParameterTuningJobObjective"]
    return Record(
        study=name,
        job=name,
        component=component,
        metric=objective["MetricName"],
        is_maximised=objective["Type"] == "Maximize",
        space=space_of(config["ParameterRanges"]),
        fixed={
            key: value
            for key, value in definition.get("StaticHyperParameters", {}).items()
            if not key.startswith("_")  # the tuner's own
        },
        seed=int(config.get("RandomSeed", 0)),
        code=definition["AlgorithmSpecification"]["TrainingImage"],
        trials=[trial for trial in trials if trial],
        best=next(t for t in trials if t and t.number == names.index(best) + 1),
    )


def _trial(number: int, summary: Mapping[str, Any]) -> Trial | None:
    """Return a training that has ended, None for one that has not."""
    state = _STATES.get(summary["TrainingJobStatus"])
    if state is None:
        return None
    metric = summary.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    value = metric.get("Value")
    if state == "complete" and value is None:
        state = "failed"
    begun, ended = summary.get("TrainingStartTime"), summary.get("TrainingEndTime")
    return Trial(
        number=number,
        state=state,
        value=None if value is None else float(value),
        parameters=dict(summary["TunedHyperParameters"]),
        reason=summary.get("FailureReason", "") or ("stopped early" if state == "pruned" else ""),
        seconds=(ended - begun).total_seconds() if begun and ended else None,
    )
