"""What a person reads when a local run has ended: metrics, gates, model package, report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.pipeline.backends.store import Store
from shared.pipeline.defaults import FILE
from shared.pipeline.execution import Execution
from shared.pipeline.registry import ModelRegistry
from shared.pipeline.settings import SEARCH_SUFFIX

# The first that ran holds the one report: a search's, register's tells all, evaluate's why not.
_REPORTS = (("Tune", "report.html"), ("Register", "index.html"), ("Evaluate", "report.html"))
_SEARCH = "Search"


def lines(execution: Execution, store: Store, registry: ModelRegistry) -> Iterator[str]:
    """Yield the summary, line by line."""
    yield f"{execution.pipeline} {execution.id}: {execution.status}"
    for step in execution.steps.values():
        if step.status == "Failed":
            yield f"{step.name} failed: {step.reason}"
            if step.log:
                yield f"  log: {step.log}"
    if execution.status == "Stopped":
        yield "stopped; start again, and what had finished is taken from the cache"
    yield from _search(execution, store)
    if found := evaluation(execution, store):
        yield from _metrics(found)
        if _SEARCH not in execution.steps:  # which has nothing to pass
            yield from _gates(found)
    yield from _packages(execution, registry)
    yield from _adoption(execution, store)
    if report := report_path(execution, store):
        yield f"report         {report}"


def report_path(execution: Execution, store: Store) -> Path | None:
    """Return the one HTML report of an execution."""
    for step, file in _REPORTS:
        record = execution.steps.get(step)
        if record and record.status == "Succeeded" and "report" in record.outputs:
            return store.path(record.outputs["report"]) / file
    return None


def _packages(execution: Execution, registry: ModelRegistry) -> Iterator[str]:
    for step in execution.steps.values():
        if step.type == "RegisterModel" and step.status == "Succeeded":
            package = registry.describe(step.job)
            yield f"model package  {package.arn} ({package.status})"
            if package.status != "Approved":
                yield f"approve it     python pipeline.py --backend local --approve {package.arn}"
                yield "then serve it  make serve"


def _adoption(execution: Execution, store: Store) -> Iterator[str]:
    if source := adoptable(execution, store):
        name = execution.pipeline.removesuffix(SEARCH_SUFFIX)
        yield f"defaults       {source}"
        words = f"--backend local --name {name} --adopt {execution.id}"
        yield f"adopt them     python pipeline.py {words}"


def adoptable(execution: Execution, store: Store) -> Path | None:
    """Return the defaults.yaml that a search has written."""
    record = execution.steps.get("Tune")
    if not record or record.status != "Succeeded" or "defaults" not in record.outputs:
        return None
    return store.path(record.outputs["defaults"]) / FILE


def _search(execution: Execution, store: Store) -> Iterator[str]:
    """Yield what a search has found; its record lies beside the models it was about."""
    record = execution.steps.get("Tune")
    if not record or record.status != "Succeeded":
        return
    found = json.loads((store.path(record.outputs["report"]) / "report.json").read_text())
    states = [trial["state"] for trial in found["trials"]]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed"))
    best = next(trial for trial in found["trials"] if trial["number"] == found["best"])
    yield f"trials         {len(states)}: {counts}"
    metric = found["objective"]["metric"]
    yield f"best           {metric}={best['value']:.4f} (trial {best['number']})"
    for name, value in best["parameters"].items():
        yield f"  {name:<30}{value}"


def evaluation(execution: Execution, store: Store) -> dict[str, Any] | None:
    """Return what evaluate found of an execution's model, None where it did not come to that."""
    record = execution.steps.get("Evaluate")
    if not record or "metrics" not in record.outputs:
        return None
    path = store.path(record.outputs["metrics"]) / "evaluation.json"
    document: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return document


def _metrics(evaluation: dict[str, Any]) -> Iterator[str]:
    yield "test metrics"
    for name, value in evaluation["metrics"].items():
        if isinstance(value, (int, float)):
            yield f"  {name:<30}{value:>8.4f}"


def _gates(evaluation: dict[str, Any]) -> Iterator[str]:
    results = evaluation.get("gates", {}).get("results", [])
    if results:
        yield "gates"
    for gate in results:
        verdict = "passed" if gate["passed"] else "FAILED"
        sign = gate["comparison"]
        yield f"  {gate['name']:<30}{gate['value']:>8.4f} {sign} {gate['threshold']:<8.4f}{verdict}"
