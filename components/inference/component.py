"""Inference: a model bundle in, an endpoint out, until SIGTERM.

    front (this process, uvicorn) -> multi-model-server (Java) -> workers (handler.py)
      \\------------------ records -----------------> collector  <-/

The front answers clients, the workers answer the model's questions, the collector turns
what both report into metrics, drift tests, a prediction log and a review queue.
"""

from __future__ import annotations

import logging
import os
import resource
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from components.inference.device import choose_device, survives_fork
from components.inference.java import find_java
from components.inference.model_server import Limits, ServerSettings
from components.inference.settings import ReviewSettings, WorkerSettings
from components.inference.slices import SHORT_NS, ask_for_slice
from components.inference.supervisor import CollectorSettings, Supervisor
from shared.component.errors import UsageError
from shared.vision.bundle import open_bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Platform:
    """What SageMaker tells a container by variables of its own; it wins over parameters."""

    port: int | None
    max_payload_mb: int | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Platform:
        """Read the variables.

        Raises:
            UsageError: one of them is no number.
        """
        return cls(
            _number(environ, "SAGEMAKER_BIND_TO_PORT"),
            _number(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB"),  # batch transform sets it
        )


def run(
    *,
    model: Path,
    port: int,
    bind: str,
    workers: int,
    engine: str,
    device: str,
    batch_size: int,
    batch_delay_ms: int,
    max_payload_mb: int,
    timeout_s: int,
    model_version: str,
    endpoint_name: str,
    variant_name: str,
    allowed_buckets: str,
    telemetry: bool,
    sink: str,
    records_per_s: float,
    log_share: float,
    embedding_share: float,
    min_confidence: float,
    sampling_interval: int,
    review_per_day: int,
    operator_path: str,
    metrics_interval_s: float,
    drift_interval_s: float,
) -> None:
    """Serve `model` until SIGTERM or SIGINT; what is in flight then is answered first."""
    java, device = find_java(), choose_device(device, engine)
    _prepare_process()
    platform, rate = Platform.from_environ(), records_per_s if telemetry else 0.0
    port = port if platform.port is None else platform.port
    payload = (platform.max_payload_mb or max_payload_mb) << 20
    workers, has_cores = _workers(workers)
    with open_bundle(model) as bundle, _run_folder() as folder:
        version = model_version or bundle.version
        buckets = tuple(name.strip() for name in allowed_buckets.split(",") if name.strip())
        path, fork = bundle.folder.resolve(), survives_fork(device)
        rules = min_confidence, sampling_interval, review_per_day / workers
        review = ReviewSettings(bool(sink), *rules, log_share, embedding_share)
        how = str(folder), str(path), engine, device, timeout_s, fork, has_cores
        worker = WorkerSettings(*how, version, buckets, rate, review)
        limits = Limits(workers, batch_size, batch_delay_ms, timeout_s, payload)
        server = ServerSettings(java, folder, path, limits, fork)
        collector = CollectorSettings(
            *(sink, endpoint_name, variant_name, operator_path),
            *(review_per_day, metrics_interval_s, drift_interval_s),
        )
        uvloop.run(Supervisor(worker, server, collector, bundle, bind, port).serve())


def _workers(asked: int) -> tuple[int, bool]:
    """Return how many workers there are to be, and whether there are exactly as many cores."""
    cores = len(os.sched_getaffinity(0))
    return asked or cores, asked in (0, cores)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdigit()):
        raise UsageError(f"inference: {name} is no number: {text!r}; unset it or give one")
    return int(text) if text else None


def _prepare_process() -> None:
    """Make this process, and what it starts, one that passes messages between many.

    As many open files as the system allows, for 1,024 is a common limit; a short slice, which
    Java inherits and workers and collector give back.
    """
    ask_for_slice(SHORT_NS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _run_folder() -> Iterator[Path]:
    """Make a private folder for sockets: its path must be short, 107 characters with a name."""
    place = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(
        prefix="visionloop-",
        dir=place if len(place) < 60 else "/tmp",  # noqa: S108 - the folder made is private
        ignore_cleanup_errors=True,
    ) as name:
        folder = Path(name)
        for part in ("spool", "state"):
            (folder / part).mkdir()
        yield folder
