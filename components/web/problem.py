"""Errors as the API's clients see them, and how they are told: JSON there, a page elsewhere."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from components.web.access import visitor_of
from components.web.errors import BadInput, Forbidden, NotLoggedIn, WebError
from components.web.pages import page
from shared.component.errors import VisionloopError

log = logging.getLogger(__name__)
_MOST_SHOWN = 3


class ErrorBody(BaseModel):
    """error: its kind, one word. message: what, and what to do. request_id: for the log."""

    error: str
    message: str
    request_id: str


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 403, 404, 409, 411, 413, 415, 422, 429, 502, 503)
}


def tell_errors(app: FastAPI) -> None:
    """Let the application answer every error of its own in one way."""

    @app.exception_handler(WebError)
    def tell(request: Request, err: WebError) -> Response:
        if isinstance(err, Forbidden):
            _write_down(request)
        return _answer(request, err.status, err.kind, str(err), err.retry_after_s)

    @app.exception_handler(RequestValidationError)
    def explain(request: Request, err: RequestValidationError) -> Response:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors()]
        return _answer(request, 422, BadInput.__name__, "; ".join(wrong[:_MOST_SHOWN]))

    @app.exception_handler(HTTPException)
    def name(request: Request, err: HTTPException) -> Response:
        phrase = HTTPStatus(err.status_code).phrase
        response = _answer(request, err.status_code, phrase.title().replace(" ", ""), phrase)
        response.headers.update(err.headers or {})
        return response

    @app.exception_handler(VisionloopError)
    @app.exception_handler(Exception)
    def hide(request: Request, err: Exception) -> Response:
        request_id = request.state.request_id
        log.error("request %s failed: %r", request_id, err, exc_info=err)
        return _answer(request, 500, "Internal", "this failed; the request's id is in the log")


def _answer(
    request: Request, status: int, kind: str, message: str, retry_after_s: int = 0
) -> Response:
    headers = {"retry-after": str(retry_after_s)} if retry_after_s else {}
    if request.url.path.startswith("/api/"):
        body = ErrorBody(error=kind, message=message, request_id=request.state.request_id)
        return JSONResponse(body.model_dump(), status, headers)
    if kind == NotLoggedIn.__name__ and "hx-request" in request.headers:
        # A part of a page that renews itself: the whole page has to go to the login.
        return Response(status_code=status, headers={"hx-refresh": "true"})
    if kind == NotLoggedIn.__name__:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked)}", 303)
    response = page(request, "error.html", status, heading=HTTPStatus(status).phrase, text=message)
    response.headers.update(headers)
    return response


def _write_down(request: Request) -> None:
    """Keep what a visitor tried beyond his role."""
    visitor = visitor_of(request)
    if visitor.name:
        log.warning("audit: %s was refused %s %s", visitor.name, request.method, request.url.path)
