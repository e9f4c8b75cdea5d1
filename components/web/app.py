"""The ASGI application: every route, and what stands before them.

Headers -> BodyLimit -> TrustedHost -> sessions -> routes, each of which says whom it needs
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from components.web import classify, login
from components.web.access import Needs, Role, needs
from components.web.audit import AuditLog
from components.web.headers import Headers
from components.web.model import Model
from components.web.operator.routes import ROUTERS
from components.web.operator.services import Operations
from components.web.pages import STATIC
from components.web.problem import tell_errors
from components.web.rate import Rate
from components.web.receipts import Receipts
from components.web.settings import Settings
from shared.component.body_limit import App, BodyLimit
from shared.component.feedback import FeedbackBox
from shared.component.invoke import Ask, caller
from shared.component.object_store import open_store

_HOUR_S = 3600.0
_HEALTH = "/health"
_YEAR = "public, max-age=31536000, immutable"
_ANEW = "public, no-cache"  # kept, but its ETag is asked about


def build(
    settings: Settings,
    clients: Any,
    key: str,
    ask: Ask | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Return the application without what stands before it.

    clients: clients.Clients. key: signs sessions and receipts. ask: the model; default: the
    deployed one that the settings name. clock: seconds since the epoch.
    """
    app = FastAPI(title="visionloop", docs_url=None, redoc_url=None, openapi_url=None)
    state = app.state
    state.settings, state.clients, state.clock = settings, clients, clock
    state.rate = Rate(settings.requests_per_minute)
    state.receipts = Receipts(key, settings.session_hours * _HOUR_S)
    state.audit = AuditLog(_store(settings.audit_log), clock)
    state.model = Model(ask or caller(settings.model, clients))
    sink = _store(settings.sink)
    state.feedback = FeedbackBox(sink, settings.feedback_per_day) if sink else None
    state.operations = Operations.connect(settings, clients, clock)
    tell_errors(app)
    for router in (_machine(), login.router(settings), classify.pages, classify.api, *ROUTERS):
        app.include_router(router)
    app.mount("/static", _Static(GZipMiddleware(StaticFiles(directory=STATIC))), "static")
    _refuse_open_routes(app)
    app.add_middleware(
        SessionMiddleware,
        secret_key=key,
        session_cookie="__Host-session" if settings.is_secure else "session",
        max_age=int(settings.session_hours * _HOUR_S),
        same_site="lax",
        https_only=settings.is_secure,
    )
    app.add_middleware(_OurHosts, hosts=settings.hosts)
    return app


def guarded(app: App, settings: Settings, uploads: str = "") -> App:
    """Return the application behind its limits and headers, also where it fails.

    uploads: origin to which browsers may send files that are too large for us.
    """
    limited = BodyLimit(app, settings.max_body_bytes)
    return Headers(limited, settings.is_secure, connects=uploads)


def needed_role(route: RouteContext) -> Role | None:
    """Return the least role that a route lets in; None: it asks nobody."""
    return max((needs_.role for needs_ in _needs_of(route.dependant)), default=None)


def _needs_of(dependant: Dependant) -> Iterator[Needs]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Needs):
            yield inner.call
        yield from _needs_of(inner)


def _refuse_open_routes(app: FastAPI) -> None:
    """Let no route be forgotten: each says whom it needs.

    Raises:
        AssertionError: one does not.
    """
    for route in routes_of(app):
        if needed_role(route) is None:
            raise AssertionError(f"web: {route.path} says not whom it needs; add needs(Role...)")


def routes_of(app: FastAPI) -> list[RouteContext]:
    """Return all routes but the files.

    Raises:
        AssertionError: one is of a kind that nobody guards.
    """
    routes = iter_route_contexts(app.routes)
    found = [route for route in routes if not isinstance(route.original_route, Mount)]
    for route in found:
        if not isinstance(route.original_route, APIRoute):
            raise AssertionError(f"web: {route.path} is no APIRoute; nobody guards it")
    return found


def _machine() -> APIRouter:
    """Return what programs ask: whether we live, and what the API is."""
    made = APIRouter()

    @made.get(_HEALTH, include_in_schema=False, dependencies=[Depends(needs(Role.OUTSIDER))])
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @made.get(
        "/api/v1/openapi.json",
        include_in_schema=False,
        dependencies=[Depends(needs(Role.CONSUMER))],
    )
    async def describe(request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    return made


class _OurHosts:
    """Answers under our own names alone; who looks after us asks /health by any."""

    def __init__(self, app: App, hosts: list[str]) -> None:
        self._app = app
        self._checked = TrustedHostMiddleware(app, allowed_hosts=hosts, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_health = scope.get("path") == _HEALTH
        await (self._app if is_health else self._checked)(scope, receive, send)


class _Static:
    """Files: under an address with their content's hash for good, else asked for anew.

    Scripts import one another by their plain names.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = _YEAR if scope.get("query_string", b"").startswith(b"v=") else _ANEW

        async def tell(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                message["headers"] = [*message["headers"], (b"cache-control", kept.encode())]
            await send(message)

        await self._app(scope, receive, tell)


def _store(uri: str) -> Any:
    return open_store(uri) if uri else None
