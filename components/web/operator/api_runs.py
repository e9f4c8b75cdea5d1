"""The JSON API of runs: look, start, stop, read a step's log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from components.web.errors import Conflict, NotFound
from components.web.operator.asked import (
    API,
    OPERATOR,
    After,
    Limit,
    Ops,
    RunId,
    StepName,
    Writes,
)
from components.web.operator.records import Body, Record
from components.web.operator.run_records import ENDED, LogPage, Run, RunPage, Step
from components.web.operator.runs import Runs
from components.web.operator.start_form import StartForm, chosen, form
from components.web.problem import ERRORS

_TOKEN = Field(
    min_length=32,
    max_length=128,
    pattern=r"^[A-Za-z0-9-]+$",
    description="Chosen at random by the caller; the same again starts nothing.",
)
# What StartPipelineExecution takes.
Name = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=1024)]
router = APIRouter(
    prefix=API,
    tags=["runs"],
    dependencies=OPERATOR,
    responses={code: ERRORS[code] for code in (400, 401, 403, 404, 422, 429, 503)},
)


class StartRun(Body):
    """parameters: of the pipeline, by name, as text; the rest have their defaults."""

    token: str = _TOKEN
    parameters: dict[Name, Text] = Field(default_factory=dict, max_length=100)


class StopRun(Body):
    token: str = _TOKEN


class Started(Record):
    """id of the run; parameters: what it was told, all others are the pipeline's defaults."""

    id: str
    parameters: dict[str, str]


@router.get("/runs")
def list_runs(ops: Ops, limit: Limit = 20, after: After = None) -> RunPage:
    """List runs of the pipeline, the newest first."""
    return ops.runs.list(limit, after)


@router.get("/start-form")
def describe_start(ops: Ops) -> StartForm:
    """Return the parameters that a run takes: defaults, and what the newest run was told."""
    run, before = ops.runs.newest_parameters()
    champion = ops.packages.champion()
    return form(ops.runs.pipeline, ops.runs.definition(), champion, run, before)


@router.post("/runs", status_code=201, responses={409: ERRORS[409]})
def start_run(body: StartRun, ops: Ops, diary: Writes) -> Started:
    """Start a run with what differs from the pipeline's defaults."""
    parameters = chosen(ops.runs.definition(), body.parameters, ops.packages.champion())
    run = ops.runs.start(parameters, body.token)
    diary.write("start run", run, after=parameters)
    return Started(id=run, parameters=parameters)


@router.get("/runs/{run}")
def get_run(run: RunId, ops: Ops) -> Run:
    """Return a run with its steps, parameters and gates."""
    return ops.runs.get(run)


@router.post("/runs/{run}/stop", status_code=202, responses={409: ERRORS[409]})
def stop_run(run: RunId, body: StopRun, ops: Ops, diary: Writes) -> Run:
    """Ask a run to stop; its steps end within minutes."""
    before = ops.runs.get(run)
    if before.status in ENDED:
        raise Conflict(f"runs: {run} is over ({before.status}); there is nothing to stop")
    ops.runs.stop(run, body.token)
    diary.write("stop run", run, before.status, "Stopping")
    return ops.runs.get(run)


@router.get("/runs/{run}/steps/{step}/log")
def read_log(
    run: RunId,
    step: StepName,
    ops: Ops,
    stream: Annotated[str, Query(max_length=512, pattern=r"^[^:*]*$")] = "",
    older: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> LogPage:
    """Return the last lines of a step's log, or those before a page that was seen."""
    return ops.logs.tail(find_step(ops.runs, run, step), stream, older, limit)


def find_step(runs: Runs, run: str, step: str) -> Step:
    """Return a step that has begun.

    Raises:
        WebError: there is no such run or step.
    """
    for found in runs.steps(run):
        if found.name == step:
            return found
    raise NotFound(f"runs: step {step} of run {run} has not begun, or there is none")
