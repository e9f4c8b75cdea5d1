"""The ML backend that Label Studio asks for suggestions: /health, /setup, /predict, /webhook.

Label Studio calls /health and /setup before every /predict; it gives them 1 s, 3 s and 100 s,
and a webhook 1 s. Of an error it shows people the status and the address, nothing of the
body: so /setup refuses by sending the caller on to an address that says why.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlencode

import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel

from components.labeling.clients import Clients
from components.labeling.errors import AwayError, ConfigError
from components.labeling.guard import Guard
from components.labeling.images import QueueImages
from components.labeling.label_config import check_labels, read_config
from components.labeling.model import Model
from components.labeling.predict import Suggestions
from components.labeling.settings import Secrets, Settings, check_may_listen
from components.labeling.withheld import Withheld
from shared.component.errors import UsageError
from shared.component.objects import ObjectReader

log = logging.getLogger(__name__)
_END_S = 30  # for requests that have come; Label Studio asks again for what it lost
_SYNC_END_S = 5.0
_STATUS = {ConfigError: 409, AwayError: 503}


class SetupBody(BaseModel):
    """What is read of /setup; access_token and hostname are not."""

    label_config: Annotated[str, Body(validation_alias="schema")]


class PredictBody(BaseModel):
    """What is read of /predict."""

    tasks: list[dict[str, Any]]
    label_config: str


def make_app(suggestions: Suggestions, secrets: Secrets, hint: threading.Event) -> Guard:
    """Return the ASGI application.

    hint: set when a webhook says that people have done something.
    """
    app = FastAPI(title="visionloop labeling", openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    @app.post("/setup")
    def setup(body: SetupBody) -> Response:
        try:
            facts = suggestions.model.describe()
            check_labels(read_config(body.label_config), facts.labels)
        except (ConfigError, AwayError) as err:
            log.warning("setup: %s", err)
            why = {"status": _status_of(err), "why": str(err)}
            return RedirectResponse(f"refused?{urlencode(why)}", 307)
        return JSONResponse({"model_version": facts.version})

    @app.post("/refused")
    def refused(status: int, why: str) -> Response:
        return JSONResponse({"error": why}, 503 if status == 503 else 409)

    @app.post("/predict")
    def predict(body: PredictBody) -> dict[str, Any]:
        return {"results": suggestions.predict(body.tasks, read_config(body.label_config))}

    @app.post("/webhook")
    async def webhook() -> dict[str, str]:
        hint.set()  # what it says is not read: merge looks at what is there
        return {}

    _tell_errors(app)
    return Guard(app, secrets)


def _tell_errors(app: FastAPI) -> None:
    @app.exception_handler(ConfigError)
    @app.exception_handler(AwayError)
    async def refuse(_: Request, err: Exception) -> JSONResponse:
        log.warning("refused: %s", err)
        return JSONResponse({"error": str(err)}, _status_of(err))

    @app.exception_handler(RequestValidationError)
    async def explain(_: Request, err: RequestValidationError) -> JSONResponse:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors()[:3])
        return JSONResponse({"error": wrong}, 400)


def _status_of(err: Exception) -> int:
    return next(status for kind, status in _STATUS.items() if isinstance(err, kind))


def run_command(settings: Settings, secrets: Secrets, _ports: dict[str, Any]) -> None:
    """Serve until SIGTERM; with every_s also sync, sooner where a webhook hints."""
    check_may_listen(settings.bind, secrets)
    clients = Clients.connect(settings)
    hint = threading.Event()
    with ThreadPoolExecutor(settings.concurrency, "suggest") as pool:
        suggestions = make_suggestions(settings, clients, pool)
        with _listen(settings.bind, settings.port) as sock:
            host, port = sock.getsockname()[:2]
            log.info("labeling: ML backend at http://%s:%d", host, port)
            config = uvicorn.Config(
                make_app(suggestions, secrets, hint),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_END_S,
            )
            with _syncing(settings, secrets, clients, hint):
                uvicorn.Server(config).run(sockets=[sock])


@contextmanager
def _syncing(
    settings: Settings, secrets: Secrets, clients: Clients, hint: threading.Event
) -> Iterator[None]:
    """Sync beside the server, where that is asked for."""
    if not settings.every_s:
        yield
        return
    from components.labeling.studio import Studio
    from components.labeling.sync import Sync

    stop = threading.Event()
    sync = Sync(settings, secrets, clients, Studio(settings.label_studio, secrets))
    thread = threading.Thread(target=sync.run, args=(stop, hint), name="sync", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        hint.set()
        thread.join(_SYNC_END_S)  # Label Studio may take its time; nothing is half written


def make_suggestions(settings: Settings, clients: Clients, pool: ThreadPoolExecutor) -> Suggestions:
    """Put together what answers /predict."""
    reader = ObjectReader(lambda: clients.s3)
    return Suggestions(
        Model(clients.runtime, settings.endpoint, clients.quick_runtime),
        QueueImages(settings.images, reader, settings.max_image_bytes),
        Withheld(clients.s3, settings.queue, settings.blind_share),
        pool,
        settings.deadline_s,
    )


def _listen(bind: str, port: int) -> socket.socket:
    try:
        return socket.create_server((bind, port))
    except OSError as err:
        raise UsageError(
            f"labeling: cannot listen on {bind}:{port}: {err.strerror}; pass --port, or 0"
        ) from err
