"""Pages and JSON API: under uvicorn on this machine, through Mangum where Lambda asks."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from components.web.settings import Settings, read_key
from shared.component.errors import UsageError

log = logging.getLogger(__name__)
_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"  # host:port, set by Lambda
_END_S = 20  # for requests that have come


def run(
    *,
    name: str,
    endpoint: str,
    bind: str,
    port: int,
    login: str,
    public_url: str,
    issuer: str,
    client_id: str,
    session_key: str,
    session_hours: float,
    sink: str,
    metrics: str,
    operator_path: str,
    audit_log: str,
    labels: str,
    label_report: str,
    label_studio: str,
    raw: str,
    max_image_mb: int,
    requests_per_minute: int,
    feedback_per_day: int,
) -> None:
    """Answer until SIGTERM, or as long as Lambda asks.

    Raises:
        UsageError: the login does not fit the address, or the port is taken.
    """
    settings = Settings.read(locals())
    app = make_app(settings)
    if address := os.environ.get(_RUNTIME_API):
        _serve_lambda(address, app)
    else:
        _serve(settings, app)


def make_app(settings: Settings) -> Any:
    """Return the application with AWS's clients behind it."""
    from components.web.app import build, guarded
    from components.web.clients import Clients

    clients = Clients(settings.region)
    key = read_key(settings, clients.secret)
    return guarded(build(settings, clients, key), settings, _uploads(settings))


def _uploads(settings: Settings) -> str:
    """Return the bucket's origin: files too large for Lambda go there from the browser."""
    bucket = settings.raw.removeprefix("s3://").partition("/")[0]
    on_aws = settings.raw.startswith("s3://") and "VISIONLOOP_S3_ROOT" not in os.environ
    return f"https://{bucket}.s3.{settings.region}.amazonaws.com" if on_aws and bucket else ""


def _serve(settings: Settings, app: Any) -> None:
    import uvicorn

    with _listen(settings.bind, settings.port) as sock:
        host, port = sock.getsockname()[:2]
        log.info("web: http://%s:%d, login %s", host, port, settings.login)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_END_S,
            proxy_headers=False,  # nobody stands before it whose word counts
        )
        uvicorn.Server(config).run(sockets=[sock])


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family)
    except OSError as err:
        raise UsageError(
            f"web: cannot listen on {bind}:{port}: {err.strerror}; pass --port, or 0"
        ) from err


def _serve_lambda(address: str, app: Any) -> None:
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    from components.web import lambda_handler

    lambda_handler.HANDLER.app = app
    logging.getLogger().handlers.clear()  # awslambdaric brings its own: each line once
    bootstrap.run("components.web.lambda_handler.HANDLER", LambdaRuntimeClient(address))
