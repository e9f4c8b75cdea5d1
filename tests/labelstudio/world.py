"""The labelling loop's surroundings on this machine: S3, the way to the endpoint, the backend.

S3 is moto's server, the endpoint serves a small bundle, the backend and Label Studio are the
real programs. What has to go away and come back in a test can: S3, and the endpoint.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from moto.server import ThreadedMotoServer

from ci.problems import REPOSITORY
from ci.served import free_port
from shared.component import review_queue

CAPTURE, DATA = "capture", "data"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
BACKEND = {
    "VISIONLOOP_BACKEND_USER": "studio",
    "VISIONLOOP_BACKEND_PASSWORD": "of-the-backend",
    "VISIONLOOP_WEBHOOK_SECRET": "of-the-webhook",
}
OWNER, PASSWORD = "owner@example.com", "of-the-owner"
_START_S = 30.0


class Storage:
    """S3 by moto, which can go away and come back with all it holds."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: ThreadedMotoServer | None = None
        self.start()
        self.client = client("s3", self.url)
        for bucket in (CAPTURE, DATA):
            self.client.create_bucket(Bucket=bucket)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def json(self, bucket: str, key: str) -> Any:
        return json.loads(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def put_image(self, prefix: str, data: bytes, *, is_audit: bool = False) -> str:
        """Put an image as the endpoint's collector does; return its sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        key = review_queue.image_key(f"{sha256}.png")
        reason = review_queue.SAMPLED if is_audit else review_queue.LOW_CONFIDENCE
        labels, shares = ("blue", "green", "red"), (0.5, 0.3, 0.2)
        task = review_queue.ReviewTask(
            key, "1", "blue", 0.5, labels, shares, (reason,), "r", 1.0
        ).encode()
        places = {key: data, review_queue.task_key(sha256): task}
        if is_audit:
            places[review_queue.audit_key(sha256)] = task
        for name, body in places.items():
            self.client.put_object(Bucket=CAPTURE, Key=f"{prefix}/{name}", Body=body)
        return sha256


class Door:
    """The way to the endpoint: a port that leads to another one, or nowhere while shut."""

    def __init__(self, target: int) -> None:
        self._target: int | None = target
        self._visitors: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def lead_to(self, target: int | None) -> None:
        """Lead elsewhere, None: nowhere; whoever is inside has to come again."""
        self._target = target
        for visitor in tuple(self._visitors):
            with suppress(OSError):
                visitor.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(visitor,), daemon=True).start()

    def _lead(self, visitor: socket.socket) -> None:
        with visitor:
            if self._target is None:
                return
            self._visitors.add(visitor)
            with socket.create_connection(("127.0.0.1", self._target)) as inside:
                back = threading.Thread(target=self._carry, args=(inside, visitor), daemon=True)
                back.start()
                self._carry(visitor, inside)
                back.join()
            self._visitors.discard(visitor)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Backend:
    """Our service, and the component's other commands in the same surroundings."""

    url: str
    environ: dict[str, str] = field(repr=False)
    log: Path

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "components.labeling", *words],
            cwd=REPOSITORY,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@contextmanager
def running_backend(environ: dict[str, str], folder: Path, *flags: str) -> Iterator[Backend]:
    """Start `serve` and wait until it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = environ | {"VISIONLOOP_BACKEND_URL": url}
    log = folder / f"backend-{port}.log"
    command = [sys.executable, "-m", "components.labeling", "serve", "--port", str(port), *flags]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=sink, stderr=sink)
    try:
        await_true(lambda: process.poll() is not None or is_up(f"{url}/health"), "backend")
        assert process.poll() is None, log.read_text()
        yield Backend(url, environ, log)
    finally:
        process.terminate()
        process.wait(30)


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def await_true(is_so: Callable[[], bool], what: str, seconds: float = _START_S) -> None:
    """Wait for a condition, no longer than its deadline."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"{what} did not come in {seconds} s"
        time.sleep(0.05)


def client(service: str, url: str) -> Any:
    """Return boto3's client of a server on this machine."""
    return boto3.client(
        service,
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - moto takes any
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1}),
    )
