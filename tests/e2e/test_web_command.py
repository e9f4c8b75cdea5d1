"""`python -m ci web` with a stand-in for the pages: what it prints works, and it leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from ci.problems import REPOSITORY
from ci.served import free_port
from ci.tests.live import assert_all_gone, wait_until
from ci.tests.packages import register
from ci.web.command import group_of
from ci.web.programs import Program, environ, pages_command
from shared.pipeline.execution import Execution, local_arn
from shared.pipeline.registry import FileRegistry
from shared.pipeline.settings import Settings
from shared.vision.bundle import pack
from shared.vision.tests.served import make_served_bundle

pytestmark = pytest.mark.e2e

# Answers with what the pages are told, or ends with an error of its own.
PAGES = """\
import http.server, json, os, sys
if "--fail" in sys.argv:
    sys.exit("error: web: the pages are torn")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"words": sys.argv[1:], "environ": dict(os.environ)}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/end":
            os._exit(3)
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
WEB = """\
import sys
from ci.web import programs
from ci.web.command import main
from shared.component import logs
from shared.component.errors import VisionloopError
def pages(settings, name, port):
    words = programs.pages_command(settings, name, port)
    return [sys.executable, sys.argv[1], *words[3:]]
logs.configure()
try:
    raise SystemExit(main(sys.argv[2:], pages))
except VisionloopError as err:
    sys.exit(f"error: {err}")
"""


@contextmanager
def web(home: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Run `ci web`, and end it whatever becomes of it."""
    (home / "pages.py").write_text(PAGES)
    told = {"VISIONLOOP_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "AWS_PROFILE": "mine"}
    process = subprocess.Popen(
        [sys.executable, "-c", WEB, str(home / "pages.py"), "--port", "0", *flags],
        cwd=REPOSITORY,
        env=os.environ | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    family = []
    try:
        yield process
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert_all_gone(family)


def _lines(process: subprocess.Popen[str], count: int = 4) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip() for _ in range(count)]


def _told(lines: Sequence[str]) -> Any:
    """Return what the pages say that they were told."""
    (url,) = re.findall(r"http://\S+", lines[0])
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def test_pages_come_up_with_no_package_and_the_first_approval_is_deployed(tmp_path: Path) -> None:
    archive = tmp_path / "s3" / "bucket" / "model.tar.gz"
    pack(make_served_bundle(tmp_path / "bundle").folder, archive)
    with web(tmp_path, "--name", "colours", "--dev", "yes") as process:
        lines = _lines(process)
        assert "nothing is approved yet" in lines[1]
        told = _told(lines)
        settings = Settings.from_environ({"VISIONLOOP_HOME": str(tmp_path)})
        port = int(told["words"][told["words"].index("--port") + 1])
        assert told["words"] == [*pages_command(settings, "colours", port)[3:], "--dev", "yes"]
        session = dict(re.findall(r"(AWS_\w+)=(\S+)", lines[3]))
        assert told["environ"]["AWS_ENDPOINT_URL"] == session["AWS_ENDPOINT_URL"]
        assert told["environ"]["VISIONLOOP_S3_ROOT"] == str(tmp_path / "s3")
        assert "AWS_PROFILE" not in told["environ"]
        client = boto3.client(
            "sagemaker",
            endpoint_url=session["AWS_ENDPOINT_URL"],
            region_name=session["AWS_REGION"],
            aws_access_key_id=session["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=session["AWS_SECRET_ACCESS_KEY"],
        )
        arn = register(tmp_path, "colours", "model.tar.gz", "PendingManualApproval")
        client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
        wait_until(lambda: "InService" in _serving(tmp_path), 60)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4  # the pages, the front, Java, a worker, the collector
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert_all_gone(children)


def _serving(home: Path) -> str:
    path = home / "serving.json"
    return path.read_text() if path.exists() else ""


def test_a_second_one_on_the_same_home_is_refused(tmp_path: Path) -> None:
    with web(tmp_path) as process:
        _lines(process)
        with web(tmp_path) as other:
            assert other.wait(30) != 0
            assert other.stderr is not None
            assert "another `ci web` runs on" in other.stderr.read()


def test_what_a_killed_one_has_left_is_ended_by_the_next(tmp_path: Path) -> None:
    with web(tmp_path) as process:
        _lines(process)
        left = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert process.wait(30) < 0
    assert any(each.is_running() for each in left)
    with web(tmp_path) as process:
        _lines(process)
        assert_all_gone(left)


def test_pages_that_do_not_start_are_an_error_in_their_words(tmp_path: Path) -> None:
    with web(tmp_path, "--fail") as process:
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert "the pages do not start: web: the pages are torn" in process.stderr.read()


def test_pages_that_end_end_it_all(tmp_path: Path) -> None:
    with web(tmp_path) as process:
        (url,) = re.findall(r"http://\S+", _lines(process)[0])
        urllib.request.urlopen(f"{url}end", timeout=10).close()  # noqa: S310 - loopback
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert "the pages have ended: pages ended with exit status 3" in process.stderr.read()


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = str(listener.getsockname()[1])
        with web(tmp_path, "--port", port) as process:
            assert process.wait(30) != 0
            assert process.stderr is not None
            assert f"port {port} is taken" in process.stderr.read()
    assert not (tmp_path / "logs").exists()


def test_the_group_is_the_newest_packages_else_the_newest_runs(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert group_of(settings) == "visionloop"
    for name, start in (("old", "2030-01-01T00:00:00"), ("new", "2030-01-02T00:00:00")):
        arn = local_arn("pipeline", f"{name}/execution/0a", "us-east-1")
        Execution(name, arn, start=start).save(tmp_path / "executions" / name / "0a")
    assert group_of(settings) == "new"
    register(tmp_path, "registered")
    assert group_of(settings) == "registered"
    assert len(FileRegistry(tmp_path / "registry.json", "us-east-1").list("registered")) == 1


def test_a_programs_reason_is_its_own_error_and_no_older_one(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    for text in ("error: the first", "error: the second\nand more"):
        code = f"import sys; sys.stderr.write({text!r}); sys.exit(1)"
        program = Program.start("x", [sys.executable, "-c", code], dict(os.environ), log)
        program.process.wait(30)
        assert f"error: {program.reason()}" == text.partition("\n")[0]
    program = Program.start("x", [sys.executable, "-c", ""], dict(os.environ), log)
    program.process.wait(30)
    assert program.reason() == "x ended with exit status 0; it said nothing"


def test_programs_get_keys_that_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "mine")
    told = environ(Settings(), "http://127.0.0.1:1", "web")
    assert "AWS_SESSION_TOKEN" not in told
    assert (told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]) == ("web", "local")
