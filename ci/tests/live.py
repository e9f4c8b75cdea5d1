"""A real endpoint to break: front, multi-model-server, workers and collector as processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from ci.problems import REPOSITORY
from ci.served import free_port
from components.inference.lifeline import runs
from shared.vision.tests.factories import colour_image

PATIENCE_S = 30.0
IMAGE = colour_image("red", 1)
FORKED = ("-m", "components.inference")
# Workers that load the model themselves, as on a machine with two GPUs, but on its CPU.
UNFORKED = (
    "-c",
    """
import os
from pathlib import Path
from components.inference import component
from shared.component.runtime import main
component.survives_fork = lambda device: False
smi = Path(os.environ["TMPDIR"], "nvidia-smi")  # multi-model-server counts GPUs by it
smi.write_text("#!/bin/sh\\necho index; echo 0; echo 1\\n")
smi.chmod(0o700)
os.environ["PATH"] = f"{smi.parent}:{os.environ['PATH']}"
raise SystemExit(main(Path(component.__file__).parent))
""",
)
# "/ping" and "/invocations" are an endpoint's own names, "image/jpeg" and s3:// are no paths.
_PATH = re.compile(r"(?<![\w*/])/(?!ping\b|invocations\b)\w")


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def label(self) -> str:
        """The label of a right answer with one image."""
        assert self.status == 200, self
        (prediction,) = self.json["predictions"]
        return str(prediction["label"])


@dataclass
class Live:
    """A started server."""

    process: subprocess.Popen[bytes]
    port: int
    place: Path
    log: IO[bytes]
    started: float = field(default_factory=time.monotonic)

    def ask(
        self,
        body: bytes = IMAGE,
        content_type: str | None = "application/x-image",
        *,
        path: str = "/invocations",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Answer:
        """Send one request on a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        named = {"content-type": content_type} if content_type is not None else {}
        try:
            client.request(method, path, body, named | (headers or {}))
            response = client.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            client.close()

    def ping(self) -> int:
        """Return /ping's status, 0 where nobody listens."""
        try:
            return self.ask(b"", None, path="/ping", method="GET", timeout_s=5).status
        except OSError:
            return 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def said(self) -> str:
        """Return what the server's processes have written to stderr."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Return the server's process and all below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def java(self) -> psutil.Process:
        return self._one("ModelServer")

    def collector(self) -> psutil.Process:
        return self._one("components.inference.collector")

    def loader(self) -> psutil.Process:
        """Return the process that forks the workers; it has loaded the model before, or not."""
        return psutil.Process(self.workers()[0].ppid())

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer: forked from the one that has loaded the model."""
        loaders = [p for p in self.family() if _has(p, "model_service_worker")]
        parents = {p.ppid() for p in loaders}
        return [p for p in loaders if p.pid not in parents]

    def runs(self) -> list[Path]:
        """Return the run folders that exist."""
        return list(self.place.glob("visionloop-*"))

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.ping() == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def _one(self, word: str) -> psutil.Process:
        (found,) = [p for p in self.family() if _has(p, word)]
        return found


def _has(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


@contextmanager
def serving(
    bundle: Path,
    place: Path,
    *flags: str,
    is_ready: bool = True,
    program: Sequence[str] = FORKED,
    **popen: Any,
) -> Iterator[Live]:
    """Start a server and end all its processes afterwards, whatever became of it.

    place: a short path, where the run folder is made.
    is_ready: wait until /ping says so.
    program: what Python runs.
    """
    port = free_port()
    command = [sys.executable, *program, "serve", "--model", str(bundle)]
    command += ["--port", str(port), "--workers", "2", "--sink", str(place / "sink"), *flags]
    environ = os.environ | {"TMPDIR": str(place), "OMP_NUM_THREADS": "1"} | popen.pop("env", {})
    family: list[psutil.Process] = []
    with tempfile.TemporaryFile(dir=place) as log, (place / "out").open("ab") as out:
        options = {"stdout": out, "stderr": log, "cwd": REPOSITORY, "env": environ} | popen
        process = subprocess.Popen(command, **options)
        live = Live(process, port, place, log)
        try:
            if is_ready:
                live.wait_until_ready()
            yield live
        finally:
            if process.poll() is None:
                family = live.family()
                process.terminate()
                _gone([psutil.Process(process.pid)], 15)
            for left in family:
                if left.is_running():
                    left.kill()
            process.wait()


def wait_until(is_true: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Wait for a condition and return how long it took."""
    start = time.monotonic()
    while not is_true():
        assert time.monotonic() - start < seconds, f"not so within {seconds:g} s"
        time.sleep(0.01)
    return time.monotonic() - start


def _gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for processes to end and return those that have not."""
    end = time.monotonic() + seconds
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def assert_all_gone(processes: Sequence[psutil.Process], seconds: float = 10) -> None:
    """Hold that no process of a server is left."""
    left = _gone(processes, seconds)
    assert not left, [p.cmdline() for p in left]


def assert_error(answer: Answer, status: int, kind: str) -> str:
    """Hold an answer to be an error that tells nothing of the inside; return its message."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    document = answer.json
    assert set(document) == {"error", "message", "request_id"}
    assert document["error"] == kind, document
    assert document["request_id"] == answer.headers.get("x-request-id", "")
    assert_no_innards(answer)
    return str(document["message"])


def assert_no_innards(answer: Answer) -> None:
    """Hold that neither a stack trace nor a path is in what a client sees."""
    text = answer.body.decode() + " ".join(answer.headers.values())
    for word in ("Traceback", "File \\", ".py", "site-packages", "mms", "java", "0x"):
        assert word not in text, text
    assert not _PATH.search(text), text
