"""What a consumer does: send an image, see what it shows, say whether that is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from components.web.access import Role, csrf_token, needs, visitor_of
from components.web.errors import Away, BadInput, Conflict, TooMany
from components.web.formats import image_extension
from components.web.model import Answer
from components.web.pages import page
from components.web.problem import ERRORS
from shared.component.errors import InputError, StorageError
from shared.component.feedback import FeedbackLimitError

_IMAGES = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
    }
}
_TOMORROW_S = 3600

api = APIRouter(prefix="/api/v1", dependencies=[Depends(needs(Role.CONSUMER))], tags=["consumer"])
pages = APIRouter(dependencies=[Depends(needs(Role.CONSUMER))], include_in_schema=False)


class SessionBody(BaseModel):
    """Who is logged in; `csrf_token` goes back in X-CSRF-Token with every change."""

    name: str
    role: str
    csrf_token: str


class Share(BaseModel):
    """One label and its probability in [0, 1]."""

    label: str
    probability: float


class Explanation(BaseModel):
    """Where the model pays attention.

    map: rows from the top; how much covering a place lowers the label's probability.
    area: left, top, width, height of what the map covers, as shares of the upright image.
    """

    method: str
    map: list[list[float]]
    area: list[float]


class PredictionBody(BaseModel):
    """What the model says of one image.

    probabilities: the largest first. entropy: nats. is_drift: whether what the endpoint got
    lately looks unlike what it was trained on; null: not known yet. latency_ms: of the model,
    as this server saw it. receipt: goes back with feedback.
    """

    label: str
    confidence: float
    entropy: float
    probabilities: list[Share]
    model_version: str
    request_id: str
    is_drift: bool | None
    latency_ms: float
    explanation: Explanation | None = None
    receipt: str


class FeedbackBody(BaseModel):
    """What was written down: the image goes to people, who decide."""

    said: str
    predicted: str


@pages.get("/")
def show_classify(request: Request) -> HTMLResponse:
    """The page to classify images."""
    return page(request, "classify.html")


@api.get("/session", responses=ERRORS)
def read_session(request: Request) -> SessionBody:
    """Return who is logged in."""
    visitor = visitor_of(request)
    return SessionBody(
        name=visitor.name,
        role=visitor.role.name.lower(),
        csrf_token=csrf_token(request.session),
    )


@api.post("/predictions", responses=ERRORS, openapi_extra=_IMAGES)
async def predict(request: Request, response: Response, explain: bool = False) -> PredictionBody:
    """Classify the image in the body; explain: also say where the model pays attention."""
    image = await _read_image(request)
    answer: Answer = await run_in_threadpool(request.app.state.model, image, explain)
    response.headers["server-timing"] = f"endpoint;dur={answer.endpoint_ms:.2f}"
    ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
    return PredictionBody(
        label=answer.label,
        confidence=answer.confidence,
        entropy=answer.entropy,
        probabilities=[Share(label=label, probability=p) for label, p in ranked],
        model_version=answer.model_version,
        request_id=answer.request_id,
        is_drift=answer.is_drift,
        latency_ms=round(answer.endpoint_ms, 1),
        explanation=_explanation(answer.explanation),
        receipt=request.app.state.receipts.write(image, answer.shown),
    )


@api.post("/feedback", responses=ERRORS, openapi_extra=_IMAGES, status_code=201)
async def give_feedback(
    request: Request,
    said: Annotated[str, Query(min_length=1, max_length=200)],
    receipt: Annotated[str, Header(alias="x-receipt", min_length=1, max_length=8000)],
) -> FeedbackBody:
    """Say what the image in the body shows; `x-receipt` is that of its prediction."""
    image = await _read_image(request)
    shown = request.app.state.receipts.read(receipt, image)
    state = request.app.state
    if state.feedback is None:
        raise Conflict("feedback is not taken here: the pages do not know the review queue")
    try:
        await run_in_threadpool(
            state.feedback.add, image, image_extension(image), shown, said, state.clock()
        )
    except FeedbackLimitError as err:
        raise TooMany(
            "people have enough to look at today; try again tomorrow", _TOMORROW_S
        ) from err
    except InputError as err:
        raise BadInput(str(err)) from err
    except StorageError as err:
        raise Away("feedback cannot be written down now; try again later") from err
    return FeedbackBody(said=said, predicted=shown.label)


async def _read_image(request: Request) -> bytes:
    image = await request.body()
    if not image:
        raise BadInput("the body is empty; send an image")
    image_extension(image)
    return image


def _explanation(found: Mapping[str, Any] | None) -> Explanation | None:
    return None if found is None else Explanation.model_validate(dict(found))
