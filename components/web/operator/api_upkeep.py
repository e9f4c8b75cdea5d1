"""The JSON API of the rest: live figures, labelling, uploads, parameters, data, audit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Body as RawBody
from fastapi.responses import Response
from pydantic import Field

from components.web.operator.api_models import PAGE_ANSWERS
from components.web.operator.asked import (
    API,
    OPERATOR,
    DatasetName,
    Limit,
    Ops,
    ParameterName,
    Writes,
)
from components.web.operator.asking import asking
from components.web.operator.data import DataReport
from components.web.operator.datasets import DATASET, Dataset, File, Upload
from components.web.operator.labelling import Labelling
from components.web.operator.live import Hours, Live
from components.web.operator.parameters import Parameter, Parameters
from components.web.operator.records import Body, Record
from components.web.problem import ERRORS

router = APIRouter(
    prefix=API,
    tags=["upkeep"],
    dependencies=OPERATOR,
    responses={code: ERRORS[code] for code in (400, 401, 403, 404, 422, 429, 503)},
)
_CONFLICT = {409: ERRORS[409]}
FilePath = Annotated[str, Query(min_length=1, max_length=500, description="class/photo.jpg")]


# As long as any value of the table; a number of a thousand digits is no value.
Value = (
    Annotated[str, Field(max_length=100)]
    | Annotated[int, Field(ge=-1_000_000_000_000, le=1_000_000_000_000)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | bool
)


class OpenDataset(Body):
    name: str = Field(pattern=DATASET)


class AskUpload(Body):
    path: str = Field(min_length=1, max_length=500)


class CompleteDataset(Body):
    """files: as many as were shown; others are a conflict."""

    files: int = Field(ge=1, le=10_000_000)


class SetParameter(Body):
    """value: of the parameter's type, also as text. seen: the version that was looked at."""

    value: Value
    comment: str = Field("", max_length=500)
    seen: int | None = Field(None, ge=0, le=1_000_000_000)


class AuditEntry(Record):
    time: str
    visitor: str
    action: str
    subject: str
    before: Any = None
    after: Any = None
    comment: str = ""


class Audit(Record):
    entries: list[AuditEntry]


@router.get("/live")
def get_live(ops: Ops, hours: Hours = Hours.DAY) -> Live:
    """Return what the endpoint reported of itself in the last hours."""
    return ops.live.read(hours)


@router.get("/labelling")
def get_labelling(ops: Ops) -> Labelling:
    """Return how the labelling loop stands."""
    return ops.labelling.get()


@router.post("/datasets", responses=_CONFLICT)
def open_dataset(body: OpenDataset, ops: Ops) -> Dataset:
    """Return a data set that may be uploaded to; a new name begins one."""
    return ops.datasets.open(body.name)


@router.get("/datasets/{name}")
def get_dataset(name: DatasetName, ops: Ops) -> Dataset:
    """Return what was uploaded of a data set."""
    return ops.datasets.get(name)


@router.post("/datasets/{name}/files", status_code=201, responses=_CONFLICT | {413: ERRORS[413]})
def put_file(
    name: DatasetName,
    path: FilePath,
    data: Annotated[bytes, RawBody(media_type="application/octet-stream")],
    ops: Ops,
) -> File:
    """Put one image of at most 6 MB; the same path again replaces it."""
    return ops.datasets.put(name, path, data)


@router.post("/datasets/{name}/uploads", responses=_CONFLICT)
def ask_upload(name: DatasetName, body: AskUpload, ops: Ops) -> Upload:
    """Return a form by which a larger image goes to S3 itself."""
    return ops.datasets.upload(name, body.path)


@router.post("/datasets/{name}/complete", responses=_CONFLICT)
def complete_dataset(name: DatasetName, body: CompleteDataset, ops: Ops, diary: Writes) -> Dataset:
    """Say that a data set is whole; on AWS a run on it starts, if operators allow that."""
    dataset = ops.datasets.complete(name, body.files)
    diary.write("complete data set", name, after=dataset.classes)
    return dataset


@router.get("/parameters")
def list_parameters(ops: Ops) -> Parameters:
    """Return every operator parameter and the value in force."""
    return ops.parameters.list()


@router.get("/parameters/{name}")
def get_parameter(name: ParameterName, ops: Ops) -> Parameter:
    """Return one operator parameter."""
    return ops.parameters.get(name)


@router.put("/parameters/{name}", responses=_CONFLICT)
def set_parameter(name: ParameterName, body: SetParameter, ops: Ops, diary: Writes) -> Parameter:
    """Change an operator parameter; whoever obeys it sees that at the next use."""
    before = ops.parameters.put(name, body.value, body.seen)
    after = ops.parameters.get(name)
    diary.write("set parameter", name, before.value, after.value, body.comment.strip())
    return after


@router.get("/data")
def get_data(ops: Ops) -> DataReport:
    """Return the data report of the newest run that has one."""
    return ops.data.get()


@router.get("/data/report", response_class=Response, responses=PAGE_ANSWERS)
def read_data_report(ops: Ops) -> Response:
    """Return the report's own page, which runs nothing and fetches nothing."""
    return ops.data.page().response()


@router.get("/audit")
def list_audit(request: Request, limit: Limit = 100) -> Audit:
    """Return what operators did last, the newest first."""
    return Audit(entries=audit_entries(request, limit))


def audit_entries(request: Request, limit: int) -> list[AuditEntry]:
    """Return the newest entries of the audit log.

    Raises:
        WebError: it cannot be read.
    """
    with asking("audit log"):
        found = request.app.state.audit.last(limit)
    return [AuditEntry(**vars(entry)) for entry in found]
