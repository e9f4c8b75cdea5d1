"""Start, watch and stop the processes of one server, in the right order.

The port opens first and answers /ping with 503 until every worker has proven itself. A
collector that dies is started again, since nothing depends on it; a model server that
dies ends everything, since whoever started this process starts it anew. On SIGTERM the
front answers what is in flight, then the workers go, then the collector writes out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import uvicorn

from components.inference.batcher import Batcher, BatchLimits
from components.inference.errors import ServingError
from components.inference.front import Front, FrontSettings
from components.inference.guard import GuardedProtocol
from components.inference.health import Health
from components.inference.lifeline import end_with
from components.inference.model_server import INVOKE_PATH, ModelServer, ServerSettings
from components.inference.settings import WorkerSettings
from components.inference.telemetry import NoTelemetry, Telemetry
from components.inference.thinning import Tally, Thinner
from components.inference.upstream import Upstream
from components.inference.wire import Head
from shared.vision.bundle import Bundle
from shared.vision.golden import TOLERANCE, GoldenImage, read_golden

log = logging.getLogger(__name__)
_WATCH_S = 0.2
_RESTART_S = 1.0  # a collector that cannot run must not keep a core busy starting
_DRAIN_S = 30  # SageMaker and docker send SIGKILL later than this
_FLUSH_S = 10.0
_BACKLOG = 2048


@dataclass(frozen=True)
class CollectorSettings:
    """What the collector is started with, beside what the workers know."""

    sink: str
    endpoint_name: str
    variant_name: str
    operator_path: str
    review_per_day: int
    metrics_interval_s: float
    drift_interval_s: float


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take in who has connected and was not accepted yet, then end as uvicorn does."""
        spares = [listener.dup() for listener in sockets or []]
        ending = asyncio.create_task(super().shutdown(sockets))
        await asyncio.sleep(0)  # now uvicorn accepts no more
        for client in [client for spare in spares for client in _accept_all(spare)]:
            _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: GuardedProtocol(self.config, self.server_state, {}), client
            )
            protocol.shutdown()
        await ending


class Supervisor:
    """One server."""

    def __init__(
        self,
        worker: WorkerSettings,
        server: ServerSettings,
        collector: CollectorSettings,
        bundle: Bundle,
        bind: str,
        port: int,
    ) -> None:
        self._worker, self._collector_settings = worker, collector
        self._bind, self._port = bind, port
        self._models = ModelServer(server)
        self._upstream = Upstream(self._models.inference_socket)
        sender = Telemetry(worker.socket) if worker.has_telemetry else NoTelemetry()
        self._tally = Tally(sender, self._alarm)
        limits = server.limits
        self._batcher = Batcher(
            self._upstream,
            INVOKE_PATH,
            BatchLimits(
                limits.workers,
                limits.batch_size,
                limits.batch_delay_ms / 1e3,
                2.0 * limits.timeout_s,
            ),
            self._tally.add,
        )
        self._golden = read_golden(bundle)
        self._health = Health(self._models.ready_workers, self._probe)
        self._collector: subprocess.Popen[bytes] | None = None
        self._collector_started = float("-inf")
        self._name = bundle.info.model_name
        settings = FrontSettings(
            endpoint_name=collector.endpoint_name,
            variant_name=collector.variant_name,
            workers=server.limits.workers,
            max_payload_bytes=server.limits.payload_bytes,
            timeout_s=2.0 * server.limits.timeout_s,  # what waits, and one batch before it
            waiting=server.limits.waiting,
        )
        thinner = Thinner(worker.records_per_s or 1.0)
        self._front = Front(settings, self._batcher, self._health, sender, thinner, self._tally)

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            ServingError: the port is taken, the model cannot be served, or the model
                server died.
        """
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        with self._listener() as listener:
            server = _Server(_uvicorn_config(self._front))
            serving = asyncio.create_task(server.serve([listener]))
            try:
                self._worker.write()
                self._watch_collector()
                if await self._started(stop):
                    self._announce(listener)
                    await self._watch(stop)
            finally:
                server.should_exit = True
                await serving
                self._health.stop()
                self._upstream.close()
                self._models.stop()
                self._tally.tell()
                self._stop_collector()

    def _alarm(self, delay_s: float, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_later(delay_s, callback)

    async def _started(self, stop: asyncio.Event) -> bool:
        """Start the model server; False when told to stop meanwhile."""
        starting = asyncio.create_task(self._models.start())
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([starting, stopping], return_when="FIRST_COMPLETED")
        stopping.cancel()
        if starting not in done:
            starting.cancel()
            return False
        starting.result()
        self._health.start()
        return True

    async def _watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._models.check_alive()
            self._watch_collector()
            try:
                await asyncio.wait_for(stop.wait(), _WATCH_S)
            except TimeoutError:
                continue
        log.info("stopping: answering what is in flight")

    @contextmanager
    def _listener(self) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in self._bind else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self._bind, self._port))
            except OSError as err:
                raise ServingError(
                    f"inference: cannot listen on {self._bind}:{self._port}: {err.strerror}; "
                    "pass another --port or --bind"
                ) from err
            listener.listen(_BACKLOG)
            yield listener

    def _announce(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        log.info(
            "serving %s version %s on http://%s:%d/invocations",
            self._name,
            self._worker.model_version,
            f"[{host}]" if ":" in host else host,
            port,
        )

    async def _probe(self) -> bool:
        """Send a golden image; True where the answer is the expected one."""
        if not self._golden:
            return True  # nothing to compare with; ready workers are all that is known
        image = self._golden[0]
        head = Head("probe", time.monotonic_ns(), "application/x-image", "", "", is_probe=True)
        answer = await self._batcher.ask(head, image.data)
        return answer.status == 200 and _is_expected(answer.body, image)

    def _watch_collector(self) -> None:
        """Start the collector where none runs."""
        if not self._worker.has_telemetry:
            return
        if self._collector is not None and self._collector.poll() is None:
            return
        if time.monotonic() - self._collector_started < _RESTART_S:
            return
        if self._collector is not None:
            log.warning("the telemetry collector ended (%s); again", self._collector.returncode)
        self._collector_started = time.monotonic()
        self._collector = subprocess.Popen(
            self._collector_command(),
            start_new_session=True,  # a Ctrl-C in the terminal is for this process to handle
            preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - one system call, no lock
        )

    def _collector_command(self) -> list[str]:
        worker, settings = self._worker, self._collector_settings
        flags = {
            "--socket": worker.socket,
            "--state": worker.state,
            "--spool": worker.spool,
            "--bundle": worker.bundle,
            "--sink": settings.sink,
            "--endpoint-name": settings.endpoint_name,
            "--variant-name": settings.variant_name,
            "--model-version": worker.model_version,
            "--metrics-interval-s": settings.metrics_interval_s,
            "--drift-interval-s": settings.drift_interval_s,
            "--log-share": worker.review.log_share,
            "--operator-path": settings.operator_path,
            "--review-per-day": settings.review_per_day,
        }
        words = [str(word) for pair in flags.items() for word in pair]
        return [sys.executable, "-m", "components.inference.collector", *words]

    def _stop_collector(self) -> None:
        if self._collector is None:
            return
        self._collector.terminate()
        try:
            self._collector.wait(_FLUSH_S)
        except subprocess.TimeoutExpired:
            log.warning("the telemetry collector does not end; killing it")
            self._collector.kill()
            self._collector.wait()


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    """Close a listener, but accept what waits in its queue: that would be reset."""
    listener.setblocking(False)
    with listener, suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


def _uvicorn_config(app: Front) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # scopes are plain dictionaries here
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,  # longer than SageMaker's and load balancers' 60 seconds
        timeout_graceful_shutdown=_DRAIN_S,
    )


def _is_expected(body: bytes, image: GoldenImage) -> bool:
    said = json.loads(body)["predictions"][0]
    return abs(said["confidence"] - max(image.probabilities)) <= TOLERANCE
