"""The other pages: overview, live figures, labelling, uploads, parameters, data, audit."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from components.web.operator.api_upkeep import AuditEntry, audit_entries
from components.web.operator.asked import OPERATOR, Ops
from components.web.operator.asking import attempt
from components.web.operator.data import SPLITS
from components.web.operator.live import PERIODS_S, Hours
from components.web.operator.live_charts import class_shares, last_values, live_charts
from components.web.operator.pages_models import deployed
from components.web.operator.parameters import Parameter
from components.web.operator.services import Operations
from components.web.operator.showing import show

router = APIRouter(prefix="/operator", dependencies=OPERATOR, include_in_schema=False)
_AUDIT_LINES = 200
_AUDIT_LOOKED_AT = 500  # for who changed a parameter last


@router.get("")
def show_overview(request: Request, ops: Ops) -> HTMLResponse:
    return show(
        request,
        "overview.html",
        deployed=deployed(ops),
        runs=attempt(lambda: ops.runs.list(1)),
        models=attempt(lambda: ops.packages.list(1)),
        live=attempt(lambda: ops.live.read(Hours.DAY)),
        labelling=ops.labelling.get(),
    )


@router.get("/live")
def show_live(request: Request, ops: Ops, hours: Hours = Hours.DAY) -> HTMLResponse:
    return show(request, "live.html", **_live(ops, hours))


@router.get("/live/figures")
def show_figures(request: Request, ops: Ops, hours: Hours = Hours.DAY) -> HTMLResponse:
    """The part of the live page that renews itself."""
    return show(request, "figures.html", **_live(ops, hours))


@router.get("/labelling")
def show_labelling(request: Request, ops: Ops) -> HTMLResponse:
    return show(request, "labelling.html", labelling=ops.labelling.get())


@router.get("/datasets")
def show_upload(request: Request) -> HTMLResponse:
    return show(request, "upload.html")


@router.get("/parameters")
def show_parameters(request: Request, ops: Ops) -> HTMLResponse:
    found = attempt(ops.parameters.list)
    entries = attempt(lambda: audit_entries(request, _AUDIT_LOOKED_AT)).value or []
    changes: dict[str, AuditEntry] = {}
    for entry in reversed(entries):
        if entry.action == "set parameter":
            changes[entry.subject] = entry
    lines = (
        [_told(each, changes.get(each.name)) for each in found.value.parameters]
        if found.value
        else []
    )
    return show(request, "parameters.html", found=found, lines=lines)


@router.get("/data")
def show_data(request: Request, ops: Ops) -> HTMLResponse:
    return show(request, "data.html", found=attempt(ops.data.get), splits=SPLITS)


@router.get("/audit")
def show_audit(request: Request) -> HTMLResponse:
    found = attempt(lambda: audit_entries(request, _AUDIT_LINES))
    return show(request, "audit.html", found=found)


def _live(ops: Operations, hours: Hours) -> dict[str, object]:
    found = attempt(lambda: ops.live.read(hours))
    live = found.value
    return {
        "found": found,
        "hours": hours,
        "choices": list(PERIODS_S),
        "charts": live_charts(live) if live else [],
        "rows": last_values(live) if live else [],
        "shares": class_shares(live) if live else [],
    }


def _told(parameter: Parameter, entry: AuditEntry | None) -> Parameter:
    """Say who changed a parameter last, where these pages know and nobody did so elsewhere."""
    if entry is None or str(entry.after) != parameter.value:
        return parameter
    return parameter.model_copy(update={"changed_by": entry.visitor, "comment": entry.comment})
