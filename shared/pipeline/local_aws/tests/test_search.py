"""A search on this machine, as boto3 and so the operators' pages see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.local_aws.tests.conftest import client, make


@pytest.mark.slow
def test_a_search_is_listed_like_any_step(tmp_path: Path) -> None:
    pages = pytest.importorskip("components.web.operator.runs")
    workshop = make(tmp_path)
    words = ("Trials=2", "ParallelTrials=1", "Epochs=2", "TrainDataset=sample://one")
    for _ in range(2):  # the second comes from the cache
        assert workshop.tune(*[w for word in words for w in ("-p", word)])[0] == 0
    with local_aws(workshop.settings, Route(), environ=workshop.environ) as url:
        sagemaker = client(url, "sagemaker")
        runs = pages.Runs(sagemaker, client(url, "s3"), "visionloop-tune", lambda: 0.0)
        for run in runs.list().runs:
            steps = {step.name: step for step in runs.steps(run.id)}
            assert list(steps) == ["FetchData", "Preprocess", "Search", "Evaluate", "Tune"]
            assert {step.status for step in steps.values()} == {"Succeeded"}
            assert steps["Search"].kind == "TuningJob"
        arn = runs.arn(runs.list().runs[0].id)
        listed = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
        (told,) = [s for s in listed["PipelineExecutionSteps"] if s["StepName"] == "Search"]
        job = told["Metadata"]["TuningJob"]["Arn"]
        assert ":hyper-parameter-tuning-job/" in job
        assert job.endswith("-Search")
