"""AWS on this machine: MiniStack with IAM enforced, and moto for SageMaker.

MiniStack runs the templates, queues, rules, functions and state machines; its functions reach
SageMaker at moto's address. Both listen on 127.0.0.1 alone and are stopped by their pid.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ci.problems import REPOSITORY

ACCOUNT = "123456789012"  # MiniStack takes a key of twelve digits for that account's root
REGION = "us-east-1"
MINISTACK = REPOSITORY / ".venv-tools" / "ministack" / "bin" / "ministack"
MOTO = REPOSITORY / ".venv" / "bin" / "moto_server"
_START_S = 60.0
_WAIT_S = 60.0


@dataclass(frozen=True)
class Emulators:
    """Where the two answer; `client` makes boto3 clients that ask the right one.

    ministack, moto: addresses; log: what MiniStack wrote.
    """

    ministack: str
    moto: str
    log: Path

    def client(self, service: str, **credentials: str) -> Any:
        address = self.moto if service.startswith("sagemaker") else self.ministack
        keys = credentials or {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "test"}
        return boto3.client(
            service,
            REGION,
            endpoint_url=address,
            config=Config(
                retries={"max_attempts": 1},
                max_pool_connections=32,
                s3={"addressing_style": "path"},
            ),
            **keys,
        )

    def environ(self) -> dict[str, str]:
        """Return the variables under which a command of ours works against the emulators."""
        return {
            "AWS_ENDPOINT_URL": self.ministack,
            "AWS_ENDPOINT_URL_SAGEMAKER": self.moto,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


@contextmanager
def running_emulators(folder: Path) -> Iterator[Emulators]:
    """Start both, and stop both whatever happens."""
    with ExitStack() as stack:
        ministack, moto = _free_port(), _free_port()
        log = folder / "ministack.log"
        home = folder / "home"
        home.mkdir()
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),  # neither credentials nor settings of whoever runs the tests
            "TMPDIR": str(folder),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(ministack),
            "AUTH": "true",
            "SFN_WAIT_SCALE": "0.02",  # waits of the state machine, a fiftieth as long
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "INFO",
            # Functions inherit it: MiniStack has no SageMaker.
            "AWS_ENDPOINT_URL_SAGEMAKER": f"http://127.0.0.1:{moto}",
        }
        moto_command = [str(MOTO), "-H", "127.0.0.1", "-p", str(moto)]
        moto_environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
        moto_log = folder / "moto.log"
        stack.enter_context(_server(moto_command, moto_environ, moto_log, f"{moto}/moto-api/"))
        stack.enter_context(
            _server([str(MINISTACK)], environ, log, f"{ministack}/_ministack/health")
        )
        yield Emulators(f"http://127.0.0.1:{ministack}", f"http://127.0.0.1:{moto}", log)


def wait_for(what: Callable[[], Any], meaning: str, within_s: float = _WAIT_S) -> Any:
    """Return the first true answer.

    Raises:
        TimeoutError: there was none; the message says what was waited for.
    """
    deadline = time.monotonic() + within_s
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:.0f} s: {meaning}")
        time.sleep(0.1)
    return answer


@contextmanager
def _server(command: list[str], environ: dict[str, str], log: Path, path: str) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environ, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(lambda: _answers(process, log, path), f"{command[0]}: {log}", _START_S)
        yield
    finally:
        # Its own session: the functions it runs are its children and end with it.
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sent)
                process.wait(10)
                if sent == signal.SIGTERM:
                    os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
            break


def _answers(process: subprocess.Popen[bytes], log: Path, path: str) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"{process.args} ended: {log.read_text()[-2000:]}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
