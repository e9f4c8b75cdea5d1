"""Run the app on a loopback port, in a thread of the process that asks for it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from shared.component.errors import UsageError
from shared.pipeline.local_aws.app import application
from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.settings import Settings

_STOP_S = 5  # for requests on their way


class _Server(uvicorn.Server):
    """A server whose start can be waited for."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.is_settled.set()


@contextmanager
def local_aws(
    settings: Settings,
    route: Route | None = None,
    port: int = 0,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[str]:
    """Serve until the block ends; give the address for AWS_ENDPOINT_URL.

    route: where invocations go; without one no endpoint is ever found.
    port: 0 takes any free one.
    environ: of the executions that are started; they go on after the block.

    Raises:
        UsageError: the port is taken.
    """
    listener = _listen(port)
    app = application(settings, route or Route(), environ)
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_STOP_S,
        )
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="local-aws", daemon=True
    )
    thread.start()
    server.is_settled.wait()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as err:
        listener.close()
        raise UsageError(f"local AWS: port {port} is taken; pass --aws-port 0") from err
    return listener
