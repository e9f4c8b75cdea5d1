"""Runs as SageMaker tells of them, and as an operator wants to hear of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from components.web.errors import Away, NotFound
from components.web.operator.runs import Runs, read_gates
from components.web.tests.operator import documents
from components.web.tests.operator.aws import (
    ACCOUNT,
    BEGAN,
    PIPELINE,
    RUN,
    Store,
    error,
    job,
    step,
)

NOW_S = (BEGAN + timedelta(seconds=100)).timestamp()
EVALUATION = "s3://bucket/scenes/evaluate/metrics/evaluation.json"


def runs_of(store: Store, **answers) -> Runs:
    return Runs(store.sagemaker(**answers), None, PIPELINE, lambda: NOW_S)


def test_a_list_has_the_newest_first_and_says_how_to_go_on(s3_root):
    runs = runs_of(Store())
    page = runs.list(limit=5, after="token")
    assert [run.id for run in page.runs] == [RUN]
    asked = runs._client.requests("list_pipeline_executions")[0]
    assert asked["MaxResults"] == 5
    assert asked["NextToken"] == "token"
    assert asked["SortOrder"] == "Descending"


def test_a_run_has_steps_times_parameters_and_gates(s3_root):
    documents.write(s3_root, EVALUATION, documents.REPORT)
    run = runs_of(Store()).get(RUN)
    assert [s.name for s in run.steps][:3] == ["FetchData", "Preprocess", "Train"]
    assert {s.name: s.branch for s in run.steps}["Register"] == "if"
    assert run.steps[0].seconds == 10
    assert run.seconds == 60
    assert run.parameters == {"Epochs": "3"}
    assert run.gates.passed is True  # what the condition said
    assert run.gates.results[0].threshold == 0.9


def test_a_run_that_goes_on_shows_what_still_waits_but_no_branch_that_would_be_failure(s3_root):
    running = [step("FetchData", "Executing", 60, **job("ProcessingJob", "j-fetch"))]
    run = runs_of(Store(steps=running, status="Executing")).get(RUN)
    assert {s.name: s.status for s in run.steps} == {
        "FetchData": "Executing",
        "Preprocess": "Waiting",
        "Train": "Waiting",
        "Evaluate": "Waiting",
        "GatesPassed": "Waiting",
        "Register": "Waiting",
    }
    assert run.steps[0].seconds == 40
    assert run.done == 0
    assert run.gates.passed is None
    assert "after Evaluate" in run.gates.note


def test_a_step_that_the_pipeline_does_not_know_any_more_is_shown_all_the_same(s3_root):
    run = runs_of(Store(steps=[step("Gone")])).get(RUN)
    assert [s.name for s in run.steps] == ["Gone"]


def test_gates_are_read_where_a_cached_step_left_them(s3_root):
    source = f"{ACCOUNT}:pipeline/{PIPELINE}/execution/{RUN}"
    cached = step("Evaluate", CacheHitResult={"SourcePipelineExecutionArn": source})
    own = step("Evaluate", **job("ProcessingJob", "j-evaluate"))
    documents.write(s3_root, EVALUATION, documents.REPORT)
    answers = iter([[cached], [own]])
    runs = runs_of(
        Store(),
        list_pipeline_execution_steps=lambda **_: {"PipelineExecutionSteps": next(answers)},
    )
    run = runs.get(RUN)
    assert run.steps[0].cached_from == RUN
    assert run.gates.passed is False
    assert run.gates.results[0].metric == "accuracy"


def test_figures_that_are_gone_are_said_to_be(s3_root):
    gates = runs_of(Store()).get(RUN).gates
    assert gates.passed is True
    assert "not there any more" in gates.note


@pytest.mark.parametrize("data", [b"", b"[]", b'{"gates": {}}', b'{"gates": {"results": [1]}}'])
def test_damaged_figures_are_none(data):
    assert read_gates(data) == []


def test_the_newest_output_is_looked_for_run_by_run(s3_root):
    found = runs_of(Store()).newest_output("Preprocess", "report")
    assert found == (RUN, "s3://bucket/scenes/preprocess/report")
    with pytest.raises(NotFound, match="no run has come past Explain"):
        runs_of(Store()).newest_output("Explain", "report")


def test_a_start_sends_its_token_so_that_twice_is_once(s3_root):
    runs = runs_of(Store())
    assert runs.start({"Epochs": "3"}, "t" * 32) == "0123456789ab"
    assert runs._client.requests("start_pipeline_execution") == [
        {
            "PipelineName": PIPELINE,
            "PipelineParameters": [{"Name": "Epochs", "Value": "3"}],
            "ClientRequestToken": "t" * 32,
        }
    ]


def test_what_is_not_there_says_how_to_make_it():
    absent = error("ResourceNotFound", "Pipeline 'x' does not exist.")
    with pytest.raises(NotFound, match=r"pipeline\.py --upsert --name scenes"):
        runs_of(Store(), list_pipeline_executions=absent).list()
    with pytest.raises(NotFound, match="run aaaaaaaaaaaa is not there"):
        runs_of(Store()).get("aaaaaaaaaaaa")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), "no answer"),
        (error("ThrottlingException", "Rate exceeded", "ListPipelineExecutions"), "Rate exceeded"),
        (error("AccessDeniedException", "arn...", "ListPipelineExecutions"), "is not allowed"),
    ],
)
def test_a_service_that_is_away_is_said_to_be(raised, message):
    with pytest.raises(Away, match=message):
        runs_of(Store(), list_pipeline_executions=raised).list()


def test_a_definition_that_is_none_is_said_to_be():
    broken = {"PipelineArn": f"{ACCOUNT}:pipeline/{PIPELINE}", "PipelineDefinition": "[1"}
    with pytest.raises(Away, match="definition cannot be read"):
        runs_of(Store(), describe_pipeline=broken).definition()
