"""What the loop needs around it, on loopback ports of this machine: S3, endpoint, Label Studio.

moto stands for S3, Parameter Store and SageMaker's list of executions; the endpoint, the ML
backend and Label Studio are the real programs. All are stopped when the block ends.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.problems import REPOSITORY
from ci.served import free_port
from shared.component.errors import VisionloopError

REGION = "us-east-1"
PIPELINE = "loop"
CAPTURE, DATA, ARTIFACTS = "capture", "data", "artifacts"
QUEUE = f"s3://{CAPTURE}/endpoint"
OPERATORS = "/visionloop/loop/operator"
ENDPOINT = "loop"
_START_S = 120.0
_STOP_S = 30.0
_LOG_SHOWN = 1500


class LoopError(VisionloopError):
    """A part of the loop does not start, or does not do its part."""


@dataclass(frozen=True)
class Place:
    """A folder for all that a run of the loop leaves, and what its programs are told.

    environ: of every child; the keys in it are moto's and open nothing.
    """

    folder: Path
    environ: dict[str, str] = field(repr=False)

    @classmethod
    def at(cls, folder: Path, aws_url: str) -> Place:
        """Return a place whose programs take `aws_url` for AWS."""
        told = {
            "AWS_ACCESS_KEY_ID": "loop",
            "AWS_SECRET_ACCESS_KEY": "loop",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": aws_url,
            "PYTHONPATH": str(REPOSITORY),
            "VISIONLOOP_HOME": str(folder / "home"),
            "VISIONLOOP_ROLE": "arn:aws:iam::123456789012:role/loop",
            "LABEL_STUDIO_USER": "owner@example.com",
            "LABEL_STUDIO_PASSWORD": secrets.token_hex(16),
            "VISIONLOOP_BACKEND_USER": "label-studio",
            "VISIONLOOP_BACKEND_PASSWORD": secrets.token_hex(16),
            "VISIONLOOP_WEBHOOK_SECRET": secrets.token_hex(16),
            "VISIONLOOP_QUEUE": QUEUE,
            "VISIONLOOP_ENDPOINT": ENDPOINT,
            "VISIONLOOP_ANNOTATIONS": f"s3://{DATA}/annotations",
            "VISIONLOOP_LABELS": f"s3://{DATA}/labels",
            "VISIONLOOP_REPORT": str(folder / "labels-report"),
        }
        kept = {n: value for n, value in os.environ.items() if not n.startswith("AWS_")}
        return cls(folder, {**kept, **told})

    def told(self, **more: str) -> Place:
        """Return the same place, its programs told more."""
        return Place(self.folder, {**self.environ, **more})

    def python(self, *words: str, name: str) -> str:
        """Run `python WORDS` to its end and return what it printed; its log is kept.

        Raises:
            LoopError: it failed; the end of its log is shown.
        """
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=REPOSITORY,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=sink,
                check=False,
            )
            sink.write(done.stdout)
        if done.returncode:
            tail = log.read_text(errors="replace")[-_LOG_SHOWN:]
            raise LoopError(f"loop: {name} failed; {log} ends with:\n{tail}")
        return done.stdout.decode()

    def client(self, service: str) -> Any:
        """Return boto3's client of this machine's AWS."""
        import boto3

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.environ.get(
                f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}",
                self.environ["AWS_ENDPOINT_URL"],
            ),
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environ["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def aws() -> Iterator[str]:
    """Start moto's server in a thread of this process; give its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@contextmanager
def endpoint(place: Place, archive: Path, version: int, flags: Mapping[str, str]) -> Iterator[str]:
    """Serve a model package; give the endpoint's address."""
    port = free_port()
    words = ["-m", "components.inference", "serve", "--model", str(archive), "--port", str(port)]
    told = {"model-version": str(version), "endpoint-name": ENDPOINT, "sink": QUEUE, **flags}
    words += [word for name, value in told.items() for word in (f"--{name}", value)]
    url = f"http://127.0.0.1:{port}"
    with _program(place, "endpoint", words, f"{url}/ping"):
        yield url


@contextmanager
def backend(place: Place, port: int) -> Iterator[None]:
    """Run the ML backend that Label Studio asks."""
    words = ["-m", "components.labeling", "serve", "--port", str(port)]
    with _program(place, "ml-backend", words, f"http://127.0.0.1:{port}/health"):
        yield


@contextmanager
def _program(place: Place, name: str, words: list[str], url: str) -> Iterator[None]:
    log = place.folder / f"{name}.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=REPOSITORY, env=place.environ, stdout=sink, stderr=sink
        )
    try:
        await_true(lambda: process.poll() is not None or answers(url), f"{name} at {url}")
        if process.poll() is not None:
            tail = log.read_text(errors="replace")[-_LOG_SHOWN:]
            raise LoopError(f"loop: {name} does not start; {log} ends with:\n{tail}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Tell whether a program answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


def await_true(is_so: Callable[[], bool], what: str, seconds: float = _START_S) -> None:
    """Wait for a condition.

    Raises:
        LoopError: it has not come true in time.
    """
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise LoopError(f"loop: {what} did not come in {seconds:.0f} s")
        time.sleep(0.1)
