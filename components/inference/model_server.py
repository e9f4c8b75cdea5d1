"""multi-model-server as a child: configured, started, asked how it is, stopped whole.

It listens on two unix sockets in a private folder, so neither the model nor the
management of models can be reached from outside; `front.py` is what clients see. Its own
launcher (`multi-model-server --start`) and the toolkit's `start_model_server` are not used:
the one leaves a pid file, the other searches all processes of the machine and refuses a
second server.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from components.inference.errors import ServingError
from components.inference.lifeline import end_with, runs
from components.inference.settings import FAILURE_FILE, RUN_VARIABLE
from components.inference.starter import write_python
from components.inference.upstream import Upstream, UpstreamError

log = logging.getLogger(__name__)
MODEL_NAME = "model"
INVOKE_PATH = f"/predictions/{MODEL_NAME}"
HANDLER = "components.inference.handler"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 5.0
_COUNT_TIMEOUT_S = 1.0  # what asks is a ping, of which SageMaker expects an answer in two
# A response larger than this kills its worker: 256 images of 1,000 classes as JSON have 8 MB.
_MAX_RESPONSE_BYTES = 64 << 20
_HEAD_BYTES = 1 << 14  # what the front adds to a body, 2 KiB of it a client's, and HTTP
_JVM = (
    "-Xmx256m",  # the front lets in at most a quarter of that at once
    *("-Xms32m", "-Xmn8m"),  # a small nursery: 65 MB less, the same speed
    # One arena of pieces of 1 MB: 9 MB less.
    *("-Dio.netty.allocator.numDirectArenas=1", "-Dio.netty.allocator.maxOrder=7"),
    "-XX:+UseSerialGC",  # one collector thread: the heap holds a few requests
    # Half the work here is soon done: the second compiler costs more than its code ever
    # saves (0.28 ms of Java a request against 0.69, and 50 MB less, measured).
    "-XX:TieredStopAtLevel=1",
    "-Dlog4j2.formatMsgNoLookups=true",
    "-XX:-UsePerfData",  # figures for jstat, taken twenty times a second
)
# Tensors stay with the process instead of going back to the kernel at every request.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "16777216",
}


@dataclass(frozen=True)
class Limits:
    """How much a server does at once.

    batch_size: waiting requests of one forward pass, each filled for at most batch_delay_ms.
    timeout_s: of a batch; then its worker is replaced.
    payload_bytes: of one request's body.
    """

    workers: int
    batch_size: int
    batch_delay_ms: int
    timeout_s: int
    payload_bytes: int

    @property
    def waiting(self) -> int:
        """Requests inside at once; a quarter of a second of work at two milliseconds each."""
        return 128 * self.workers


@dataclass(frozen=True)
class ServerSettings:
    """What a model server is started with.

    run: private folder, its path short: unix sockets have at most 107 characters.
    fork: load the model once and fork the workers from that process, so that they share
        its memory; not with a GPU, whose driver does not survive a fork.
    """

    java: Path
    run: Path
    bundle: Path
    limits: Limits
    fork: bool


class ModelServer:
    """One multi-model-server, its JVM and workers a process group of their own."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._starter: psutil.Process | None = None
        self._management = Upstream(settings.run / "management.sock")

    @property
    def inference_socket(self) -> Path:
        return self._settings.run / "inference.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - after start()
        return self._process.pid

    async def start(self) -> None:
        """Start Java and load the model into every worker.

        Raises:
            ServingError: it does not start, or a worker cannot load or proves wrong.
        """
        self._process = self._spawn()
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not (self._settings.run / "management.sock").exists():
                    self._check_starting()
                    await asyncio.sleep(0.02)
                await self._register()
                (self._starter,) = psutil.Process(self.pid).children()
        except TimeoutError as err:
            raise ServingError(
                f"inference: the model is not loaded after {_START_TIMEOUT_S:.0f} s; "
                "see the log above, or serve fewer workers"
            ) from err

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        config = settings.run / "mms.properties"
        config.write_text(_properties(settings))
        python = settings.run / "python"
        write_python(python)
        found = importlib.util.find_spec("mms")
        assert found is not None  # noqa: S101 - required
        assert found.origin is not None  # noqa: S101
        home = Path(found.origin).parent
        command = [
            str(settings.java),
            *_JVM,
            f"-Dmodel_server_home={home.parent}",
            f"-Dlog4j.configurationFile=file://{Path(__file__).parent / 'log4j2.xml'}",
            f"-Djava.io.tmpdir={settings.run}",
            "-cp",
            str(home / "frontend" / "*"),
            "com.amazonaws.ml.mms.ModelServer",
            *("--python", str(python)),
            *("--mms-config", str(config)),
            *("--model-store", "/"),
        ]
        environ = os.environ | _ALLOCATOR
        environ |= {"TMPDIR": str(settings.run), RUN_VARIABLE: str(settings.run)}
        program = str(Path(__file__).parents[2])  # the workers start in another folder
        environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, (program, os.environ.get("PYTHONPATH")))
        )
        environ["OMP_NUM_THREADS"] = "1"  # the workers are the parallelism
        # stdout is for metrics; the server's greeting belongs to the log
        return subprocess.Popen(
            command,
            env=environ,
            stdout=sys.stderr,
            cwd=settings.run,
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - one system call, no lock
        )

    async def _register(self) -> None:
        settings = self._settings
        query = {
            "url": str(settings.bundle),
            "model_name": MODEL_NAME,
            "handler": HANDLER,
            "batch_size": 1,  # the front makes batches: see wire.py
            "initial_workers": settings.limits.workers,
            "response_timeout_seconds": settings.limits.timeout_s,
            "synchronous": "true",
            "preload_model": str(settings.fork).lower(),
        }
        path = "/models?" + "&".join(f"{name}={value}" for name, value in query.items())
        registering = asyncio.ensure_future(self._management.request("POST", path))
        failure = settings.run / FAILURE_FILE
        try:
            while not registering.done() and not failure.exists():
                await asyncio.wait([registering], timeout=0.05)
            if failure.exists():
                raise ServingError(failure.read_text())
            answer = registering.result()
        except UpstreamError as err:
            raise ServingError(f"inference: the model server does not answer: {err}") from err
        finally:
            registering.cancel()
        if answer.status != 200:
            raise ServingError(f"inference: the model server refuses the model: {answer.body!r}")

    async def ready_workers(self) -> int:
        """Return how many workers can take a request; 0 also when the server is gone or hangs."""
        try:
            async with asyncio.timeout(_COUNT_TIMEOUT_S):
                answer = await self._management.request("GET", f"/models/{MODEL_NAME}")
            workers = json.loads(answer.body)["workers"]
        except (UpstreamError, TimeoutError, ValueError, KeyError):
            return 0
        return sum(worker["status"] == "READY" for worker in workers)

    def check_alive(self) -> None:
        """Look whether what is needed for good still runs; after start().

        Raises:
            ServingError: Java died, or the process that forks the workers (starter.py): Java
                would go on asking it for workers, and never start another.
        """
        if not self._is_alive():
            raise ServingError("inference: multi-model-server died; its log says why; start again")
        if self._starter is not None and not runs(self._starter):
            raise ServingError("inference: the process that forks the workers died; start again")

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _check_starting(self) -> None:
        if not self._is_alive():
            raise ServingError("inference: multi-model-server ended while starting; see its log")

    def stop(self) -> None:
        """End the server and its workers; those that do not listen are killed."""
        self._management.close()
        if self._process is None:
            return
        # Workers outlive their JVM: the whole group goes, not the JVM alone.
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("multi-model-server does not stop; killing it")
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None  # noqa: S101 - stop() has looked
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            log.debug("process group %d is gone", self._process.pid)


def _properties(settings: ServerSettings) -> str:
    values = {
        "inference_address": f"unix:{settings.run / 'inference.sock'}",
        "management_address": f"unix:{settings.run / 'management.sock'}",
        "default_workers_per_model": settings.limits.workers,
        "default_response_timeout_seconds": settings.limits.timeout_s,
        "job_queue_size": settings.limits.waiting,
        "max_request_size": settings.limits.payload_bytes
        + (_HEAD_BYTES * settings.limits.batch_size),
        "max_response_size": _MAX_RESPONSE_BYTES,
        "number_of_netty_threads": 1,  # more threads than the work needs only contend
        "netty_client_threads": 1,
        "number_of_gpu": 0 if settings.fork else "",
        "decode_input_request": "false",
        "async_logging": "false",  # nothing is logged of a request; its thread wakes all the time
        "use_native_io": "true",
        "enable_envvars_config": "true",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items() if value != "")
