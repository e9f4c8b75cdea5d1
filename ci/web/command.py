"""python -m ci web: the pages on this machine, with what they show and what serves.

    python -m ci web --name scenes --port 8000

Starts the local AWS over .visionloop, serves the newest approved package and every one that
is approved while it runs, and shows the pages of components/web, whose flags it takes too.
Ctrl-C ends all but the runs that were started.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from ci.packages import LocalPackage, approved
from ci.served import free_port
from ci.web.deployer import Deployer
from ci.web.ledger import Ledger
from ci.web.programs import Program, answers, environ, pages_command, served_command
from shared.component.errors import UsageError, VisionloopError
from shared.pipeline.local_aws.executions import Executions
from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.registry import FileRegistry
from shared.pipeline.settings import Settings

log = logging.getLogger(__name__)
_PAGES_START_S = 60.0
_POLL_S = 0.1
_END_S = 150.0  # a deployer ends three programs at most, each within its time
# Makes the command of the pages: settings, name, port.
Pages = Callable[[Settings, str, int], list[str]]


class WebError(VisionloopError):
    """The pages do not start, or end by themselves."""


@dataclass(frozen=True)
class Place:
    """What `ci web` was asked for.

    flags: more for the pages.
    """

    settings: Settings
    name: str
    port: int
    aws_port: int
    flags: Sequence[str] = ()


def main(argv: Sequence[str] | None = None, pages: Pages = pages_command) -> int:
    """Run until told to stop.

    pages: what shows the pages; a test has another.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ci web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--name", default="", help="model package group; default: the newest one's")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one; default: 8000")
    parser.add_argument("--aws-port", type=int, default=0, help="of the local AWS; default: any")
    arguments, flags = parser.parse_known_args(argv)
    settings = Settings.from_environ()
    name = arguments.name or group_of(settings)
    port = arguments.port or free_port()
    place = Place(settings, name, port, arguments.aws_port, flags)
    told: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # HUP: the terminal is closed
        signal.signal(number, stop)
    run(place, pages, lambda: bool(told))
    return 0


def run(place: Place, pages: Pages, is_told: Callable[[], bool]) -> None:
    """Start everything, wait until told to stop, and end it in order.

    Raises:
        UsageError: a port is taken, or another `ci web` runs on this home.
        WebError: the pages do not start, or end by themselves.
    """
    with ExitStack() as stack:
        stack.enter_context(_alone(place.settings.home))
        ledger = Ledger(place.settings.home / "programs.jsonl")
        ledger.end_leftovers()
        _check_free(place.port)
        route = Route()
        aws_url = stack.enter_context(local_aws(place.settings, route, place.aws_port))
        stack.enter_context(_deploying(place, route, aws_url, ledger))
        program = stack.enter_context(_showing(place, pages, aws_url, ledger))
        if _await_pages(place, program, is_told):
            sys.stdout.writelines(f"{line}\n" for line in _invitation(place, aws_url))
            sys.stdout.flush()
        while not is_told():
            if not program.is_running:
                raise WebError(f"web: the pages have ended: {program.reason()}; see {program.log}")
            _wait(program)
    for line in _farewell(place):
        sys.stdout.write(f"{line}\n")


def group_of(settings: Settings) -> str:
    """Return the group of the newest package, else the newest execution's pipeline."""
    registry = FileRegistry(settings.home / "registry.json", settings.region)
    if packages := registry.oldest_first():
        return packages[-1].group
    files = (settings.home / "executions").glob("*/*/execution.json")
    found = [(str(json.loads(file.read_text())["start"]), file.parts[-3]) for file in files]
    return max(found)[1] if found else "visionloop"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home for this process: two would deploy against each other."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "web.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise UsageError(
            f"web: another `ci web` runs on {home}; end it, or set VISIONLOOP_HOME"
        ) from err
    try:
        yield
    finally:
        lock.release()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UsageError(f"web: port {port} is taken; pass another: make web PORT=8001")


@contextmanager
def _deploying(place: Place, route: Route, aws_url: str, ledger: Ledger) -> Iterator[None]:
    """Deploy what is approved while the block runs; afterwards nothing serves."""
    settings = place.settings

    def launch(found: LocalPackage, port: int) -> Program:
        program = Program.start(
            "endpoint",
            served_command(settings, place.name, found, port),
            environ(settings, aws_url, "endpoint"),
            settings.home / "logs" / "endpoint.log",
        )
        ledger.add(program.process.pid)
        return program

    deployer, stop = Deployer(settings, place.name, route, launch), threading.Event()
    thread = threading.Thread(target=deployer.run, args=(stop,), name="deployer")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_END_S)


@contextmanager
def _showing(place: Place, pages: Pages, aws_url: str, ledger: Ledger) -> Iterator[Program]:
    """Run the pages' program while the block runs."""
    settings = place.settings
    program = Program.start(
        "pages",
        [*pages(settings, place.name, place.port), *place.flags],
        environ(settings, aws_url, "web"),
        settings.home / "logs" / "web.log",
    )
    ledger.add(program.process.pid)
    try:
        yield program
    finally:
        program.end()


def _await_pages(place: Place, program: Program, is_told: Callable[[], bool]) -> bool:
    """Wait until the pages answer; False: it was told to stop before.

    Raises:
        WebError: they have ended, or take too long.
    """
    deadline = time.monotonic() + _PAGES_START_S
    while not answers(f"http://127.0.0.1:{place.port}/"):
        if is_told():
            return False
        if not program.is_running or time.monotonic() > deadline:
            raise WebError(f"web: the pages do not start: {program.reason()}; see {program.log}")
        _wait(program)
    return True


def _wait(program: Program) -> None:
    """Wait a moment, or until a program ends."""
    try:
        program.process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


def _invitation(place: Place, aws_url: str) -> Iterator[str]:
    settings = place.settings
    yield f"pages of {place.name}: http://127.0.0.1:{place.port}/    Ctrl-C stops"
    found = approved(settings, place.name)
    serves = f"version {found[0].version}" if found else "nothing is approved yet; what will be,"
    yield f"  {serves} is served as endpoint {place.name}; logs: {settings.home / 'logs'}"
    yield "  for your own boto3 or AWS CLI:"
    yield (
        f"  export AWS_ENDPOINT_URL={aws_url} AWS_ACCESS_KEY_ID=you AWS_SECRET_ACCESS_KEY=local "
        f"AWS_REGION={settings.region} AWS_DEFAULT_REGION={settings.region}"
    )


def _farewell(place: Place) -> Iterator[str]:
    found = Executions(place.settings.home, place.settings.region).of(place.name)
    if running := [each for each in found if each.status in ("Executing", "Stopping")]:
        yield f"{len(running)} started run(s) go on: " + ", ".join(each.id for each in running)
        yield f"  python pipeline.py --backend local --name {place.name} --list"
