"""The JSON API of models: versions, a decision on one, its report, what serves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from components.web.errors import BadInput
from components.web.operator.asked import API, OPERATOR, Limit, Ops, Version, Writes
from components.web.operator.package_records import (
    Approval,
    Decision,
    Package,
    PackagePage,
    Serving,
)
from components.web.operator.records import Body, Record
from components.web.problem import ERRORS

router = APIRouter(
    prefix=API,
    tags=["models"],
    dependencies=OPERATOR,
    responses={code: ERRORS[code] for code in (400, 401, 403, 404, 422, 429, 503)},
)
PAGE_ANSWERS = {
    200: {"content": {"text/html": {}}, "description": "A self-contained page."},
    303: {"description": "The page is large; S3 has it at this address for a minute."},
}


class Decide(Body):
    """comment: needed to reject. seen: the status that was looked at; another is a conflict."""

    decision: Decision
    comment: str = Field("", max_length=1000)
    seen: Approval | None = None


class Decided(Record):
    version: int
    before: Approval
    status: Approval


@router.get("/models")
def list_models(
    ops: Ops, limit: Limit = 20, before: Annotated[int | None, Query(ge=1, le=1_000_000)] = None
) -> PackagePage:
    """List the versions of the model package group, the newest first."""
    return ops.packages.list(limit, before)


@router.get("/models/{version}")
def get_model(version: Version, ops: Ops) -> Package:
    """Return one version with what was measured of it."""
    return ops.packages.get(version)


@router.post("/models/{version}/decision", responses={409: ERRORS[409]})
def decide_on_model(version: Version, body: Decide, ops: Ops, diary: Writes) -> Decided:
    """Approve or reject a version; an approval deploys it, a rejection may roll back."""
    comment = body.comment.strip()
    if body.decision == "Rejected" and not comment:
        raise BadInput(f"models: say why version {version} is rejected; others will ask")
    before = ops.packages.decide(version, body.decision, comment, body.seen)
    diary.write("decide on model", f"version {version}", before, body.decision, comment)
    return Decided(version=version, before=before, status=body.decision)


@router.get("/models/{version}/report", response_class=Response, responses=PAGE_ANSWERS)
def read_report(version: Version, ops: Ops) -> Response:
    """Return the package's own page, which runs nothing and fetches nothing."""
    return ops.packages.report(version).response()


@router.get("/serving")
def get_serving(ops: Ops) -> Serving:
    """Return what answers now, and which version it is."""
    return ops.serving.get()
