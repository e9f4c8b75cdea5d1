"""The programs that `ci web` starts: the endpoint and the pages.

Each leads a session of its own, so that Ctrl-C reaches `ci web` alone, which ends them in
order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ci.packages import LocalPackage
from ci.problems import REPOSITORY
from ci.serve import endpoint_command
from shared.pipeline.settings import Settings

OPERATOR_PATH = "/visionloop/local/operator"
_STOP_S = 30.0
_SAID_CHARS = 2000
# One machine: what it has recorded is to be seen soon, and few images are enough to look at.
_ENDPOINT_FLAGS = ("--metrics-interval-s", "10", "--drift-interval-s", "60")


@dataclass
class Program:
    """A running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    offset: int
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> Program:
        """Start a program; what it says on stderr is added to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            offset = sink.tell()
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # metrics for CloudWatch; the sink has a copy
                stderr=sink,
                start_new_session=True,
            )
        return cls(name, process, log, offset)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """Return the last that it wrote."""
        with self.log.open("rb") as file:
            file.seek(self.offset)
            return file.read()[-_SAID_CHARS:].decode(errors="replace").strip()

    def reason(self) -> str:
        """Return in a line why it has ended: its error, or how and with what last words."""
        lines = self.said().splitlines()
        if errors := [line for line in lines if line.startswith("error: ")]:
            return errors[-1].removeprefix("error: ")
        status = self.process.poll() or 0
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        return f"{self.name} ended with {how}; {lines[-1] if lines else 'it said nothing'}"

    def ask_to_end(self) -> None:
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End it: in order if it can, with all it started if it cannot."""
        self.ask_to_end()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def environ(settings: Settings, aws_url: str, caller: str) -> dict[str, str]:
    """Return what a program is told: the local AWS, keys that open nothing, the local store.

    caller: stands as the user beside what the program changes.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ACCESS_KEY_ID": caller,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "VISIONLOOP_HOME": str(settings.home),
        "VISIONLOOP_S3_ROOT": str(settings.home / "s3"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }


def served_command(settings: Settings, name: str, found: LocalPackage, port: int) -> list[str]:
    """Return what serves a package as the endpoint NAME and obeys the operators."""
    command = endpoint_command(found, port, settings.home / "endpoint")
    return [
        *command,
        *("--endpoint-name", name),
        *("--operator-path", OPERATOR_PATH),
        *_ENDPOINT_FLAGS,
    ]


def pages_command(settings: Settings, name: str, port: int) -> list[str]:
    """Return what shows the pages; this is the one place that knows the flags."""
    flags = {
        "--port": port,
        "--name": name,
        "--endpoint": name,
        "--login": "dev",
        "--sink": settings.home / "endpoint",
        "--metrics": "sink",
        "--operator-path": OPERATOR_PATH,
        "--audit-log": settings.home / "audit",
        "--labels": "s3://data/labels",
        "--label-report": settings.home / "labels-report",
        "--raw": "s3://data/raw",
    }
    command = [sys.executable, "-m", "components.web"]
    return command + [str(word) for pair in flags.items() for word in pair]


def answers(url: str) -> bool:
    """Tell whether something speaks HTTP there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
            return True
    except urllib.error.HTTPError as err:
        err.close()
        return True
    except (urllib.error.URLError, OSError):
        return False
