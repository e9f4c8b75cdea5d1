"""Pages of runs: the list, the form that starts one, a run while it runs, a step's log."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from components.web.operator.api_runs import find_step
from components.web.operator.asked import OPERATOR, After, Ops, RunId, StepName
from components.web.operator.asking import attempt
from components.web.operator.run_records import Run
from components.web.operator.showing import show
from components.web.operator.start_form import form

router = APIRouter(prefix="/operator", dependencies=OPERATOR, include_in_schema=False)


@router.get("/runs")
def show_runs(request: Request, ops: Ops, after: After = None) -> HTMLResponse:
    found = attempt(lambda: ops.runs.list(20, after))
    return show(request, "runs.html", found=found, pipeline=ops.runs.pipeline)


@router.get("/runs/new")
def show_start(request: Request, ops: Ops) -> HTMLResponse:
    champion = attempt(ops.packages.champion)
    run, before = attempt(ops.runs.newest_parameters).value or ("", {})
    found = attempt(
        lambda: form(ops.runs.pipeline, ops.runs.definition(), champion.value or "", run, before)
    )
    groups = []
    if found.value:
        groups = [(n, list(f)) for n, f in groupby(found.value.fields, lambda f: f.group)]
    return show(request, "start.html", found=found, groups=groups, champion=champion)


@router.get("/runs/{run}")
def show_run(request: Request, run: RunId, ops: Ops) -> HTMLResponse:
    found = ops.runs.get(run)
    return show(request, "run.html", run=found, seen=_state(found))


@router.get("/runs/{run}/progress")
def show_progress(
    request: Request,
    run: RunId,
    ops: Ops,
    seen: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """The part of a run's page that renews itself; seen: what was announced last."""
    found = ops.runs.get(run)
    state = _state(found)
    return show(request, "progress.html", run=found, seen=state, is_news=state != seen)


@router.get("/runs/{run}/steps/{step}")
def show_log(
    request: Request,
    run: RunId,
    step: StepName,
    ops: Ops,
    stream: Annotated[str, Query(max_length=512, pattern=r"^[^:*]*$")] = "",
    older: After = None,
) -> HTMLResponse:
    of = find_step(ops.runs, run, step)
    found = attempt(lambda: ops.logs.tail(of, stream, older))
    return show(request, "log.html", run=run, step=of, found=found)


def _state(run: Run) -> str:
    """Return what a listener has to be told of: it changes with every step, not every second."""
    running = ",".join(step.name for step in run.steps if step.status == "Executing")
    return f"{run.status}-{run.done}-{running}"
