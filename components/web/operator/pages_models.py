"""Pages of models: the versions, one of them beside the champion, and what serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from components.web.operator.asked import OPERATOR, Ops, Version
from components.web.operator.asking import Part, attempt
from components.web.operator.model_charts import METRICS, compare, matrix, robustness_charts, shown
from components.web.operator.package_records import Package, Serving
from components.web.operator.packages import rolls_back_to
from components.web.operator.services import Operations
from components.web.operator.showing import show

router = APIRouter(prefix="/operator", dependencies=OPERATOR, include_in_schema=False)


@dataclass(frozen=True)
class Deployed:
    """What serves, and what would if that were rejected; back: None where nothing would.

    coming: the newest approved version, where that is another one.
    """

    serving: Part[Serving]
    back: int | None
    coming: int | None


@router.get("/models")
def show_models(
    request: Request,
    ops: Ops,
    before: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> HTMLResponse:
    found = attempt(lambda: ops.packages.list(20, before))
    return show(
        request,
        "models.html",
        found=found,
        deployed=deployed(ops),
        group=ops.packages.group,
    )


@router.get("/models/{version}")
def show_model(request: Request, version: Version, ops: Ops) -> HTMLResponse:
    package = ops.packages.get(version)
    now = deployed(ops)
    other = attempt(lambda: _champion(ops, package, now))
    figures = package.figures
    rows = [(name, key, is_share) for key, name, _, is_share in METRICS]
    return show(
        request,
        "model.html",
        package=package,
        figures=figures,
        deployed=now,
        other=other,
        metrics=[
            (name, shown(figures.metrics[key], is_share))
            for name, key, is_share in rows
            if key in figures.metrics and key != "macro_precision"
        ],
        compared=compare(figures, other.value.figures) if other.value else [],
        matrix=matrix(figures.confusion) if figures.confusion else [],
        charts=robustness_charts(figures.robustness) if figures.robustness else [],
    )


@router.get("/serving")
def show_serving(request: Request, ops: Ops) -> HTMLResponse:
    """The part that says what serves; it renews itself while that changes."""
    return show(request, "serving.html", deployed=deployed(ops))


def deployed(ops: Operations) -> Deployed:
    serving = attempt(ops.serving.get)
    approved = attempt(ops.packages.approved).value or []
    version = serving.value.version if serving.value else None
    newest = max(approved, default=None)
    coming = newest if serving.value and newest != version else None
    return Deployed(serving, rolls_back_to(approved, version), coming)


def _champion(ops: Operations, package: Package, now: Deployed) -> Package | None:
    """Return the model to stand beside: what serves, else the newest other approved one."""
    serving = now.serving.value.version if now.serving.value else None
    if serving is not None and serving != package.version:
        return ops.packages.get(serving)
    others = [version for version in ops.packages.approved() if version != package.version]
    return ops.packages.get(others[0]) if others else None
