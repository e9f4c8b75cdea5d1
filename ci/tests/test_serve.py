"""`python -m ci serve`: what it prints works, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ci.problems import REPOSITORY
from ci.served import free_port
from ci.tests.packages import register
from shared.vision.bundle import pack
from shared.vision.tests.served import make_served_bundle

_DEADLINE_S = 90.0


@dataclass(frozen=True)
class Served:
    """A running `ci serve`, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str]
    environ: dict[str, str]
    home: Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    pack(make_served_bundle(folder / "bundle").folder, folder / "s3" / "bucket" / "model.tar.gz")
    register(folder, "colours", "model.tar.gz")
    return folder


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    environ = os.environ | {"VISIONLOOP_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "ci", "serve", "--port", "0", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip() for _ in range(5)]
        yield Served(process, lines, environ, home)
    finally:
        process.kill()
        process.communicate()


def _call(served: Served, line: str) -> str:
    done = subprocess.run(
        shlex.split(line),
        cwd=REPOSITORY,
        env=served.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_that_is_printed_works(served: Served) -> None:
    if not any((Path(folder) / "curl").exists() for folder in os.get_exec_path()):
        pytest.skip("no curl on this machine")
    document = json.loads(_call(served, served.lines[1]))
    assert document["model_version"] == "1"
    assert document["predictions"][0]["label"] == "blue"


def test_the_invoke_lines_that_are_printed_work(served: Served) -> None:
    assert "blue" in _call(served, served.lines[2])
    assert "3 golden images, 0 wrong" in _call(served, served.lines[3])


def test_a_taken_port_is_said_before_anything_starts(served: Served) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "ci", "serve", "--port", port],
            cwd=REPOSITORY,
            env=served.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: serve: port {port} is taken; pass another: make serve PORT=8081\n"
    )


def test_stopping_it_ends_everything_and_leaves_the_predictions(served: Served) -> None:
    children = psutil.Process(served.process.pid).children(recursive=True)
    assert len(children) >= 3  # the front, Java, a worker, the collector
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) == 0
    end = time.monotonic() + _DEADLINE_S
    while any(child.is_running() for child in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [child for child in children if child.is_running()]
    kinds = {path.relative_to(served.home / "endpoint").parts[0] for path in _files(served.home)}
    assert {"predictions", "metrics"} <= kinds


def _files(home: Path) -> list[Path]:
    return [path for path in (home / "endpoint").rglob("*") if path.is_file()]
