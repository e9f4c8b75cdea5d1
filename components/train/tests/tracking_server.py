"""A real `mlflow server` on loopback, of which nothing is left when the block ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_START_S = 90.0
_STOP_S = 10.0


@dataclass(frozen=True)
class TrackingServer:
    """url: of a server that answers; its process leads a group."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server with all it started; return when nothing is left of its group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._signal(number):
                self._wait_for_the_end()

    def kill(self) -> None:
        """End it as a machine does that goes without a word."""
        if self._signal(signal.SIGKILL):
            self._wait_for_the_end()

    def is_there(self) -> bool:
        """Tell whether any process of its group runs; a zombie does not."""
        self.process.poll()
        return any(_is_running_in(self.process.pid, each) for each in psutil.process_iter())

    def _wait_for_the_end(self) -> None:
        end = time.monotonic() + _STOP_S
        while self.is_there() and time.monotonic() < end:
            time.sleep(0.05)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True


def _is_running_in(group: int, process: psutil.Process) -> bool:
    try:
        is_member = os.getpgid(process.pid) == group
        return is_member and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@contextmanager
def tracking_server(folder: Path) -> Iterator[TrackingServer]:
    """Start a server with its database and artifacts in `folder`."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    command = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    log = folder / "mlflow.log"
    # Its job runner is eight more processes, for what nobody here asks of it.
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("mlflow")), "server", *command],
            env={**os.environ, **quiet},
            cwd=folder,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    server = TrackingServer(f"http://127.0.0.1:{port}", process)
    try:
        _wait(server, log)
        yield server
    finally:
        server.stop()


def _wait(server: TrackingServer, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"mlflow does not answer; its log: {log.read_text()[-2000:]}")
