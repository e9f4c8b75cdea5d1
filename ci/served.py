"""Start and stop servers for benchmarks: ours and the peers of ci/peers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ci.problems import REPOSITORY
from shared.component.errors import VisionloopError

_START_TIMEOUT_S = 120.0
_LARGEST_PORT = 32_000  # multi-model-server takes none above 32767


class BenchError(VisionloopError):
    """A server does not start or answers wrongly."""


@dataclass(frozen=True)
class Server:
    """How to start a server.

    command: words, in which PORT stands for the port.
    path, content_type: where and how it takes an image; is_json: as {"b64": ...}.
    """

    name: str
    command: Sequence[str]
    path: str = "/invocations"
    is_json: bool = False
    environ: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that has answered an image correctly, so many seconds after its start."""

    server: Server
    port: int
    pid: int
    start_s: float

    def pss_mb(self) -> float:
        """Return the proportional set size of the whole process group, in MB."""
        return sum(_pss(pid) for pid in self._pids()) / 1e6

    def cpu_s(self) -> dict[str, float]:
        """Return processor seconds so far, by what the process is."""
        used: dict[str, float] = {}
        for pid in self._pids():
            try:
                process = psutil.Process(pid)
                role = _role(process.cmdline(), is_root=pid == self.pid)
                times = process.cpu_times()
            except psutil.Error:  # it has ended; some peers do not collect their children
                continue
            used[role] = used.get(role, 0.0) + times.user + times.system
            if role == "collector":  # its children that have ended
                ended = times.children_user + times.children_system
                used["drift test"] = used.get("drift test", 0.0) + ended
        return used

    def _pids(self) -> list[int]:
        """Return its children, and its session's processes: some peers' orphan themselves."""
        children = psutil.Process(self.pid).children(recursive=True)
        session = [p.pid for p in psutil.process_iter() if _session(p) == self.pid]
        return sorted({self.pid, *session, *(child.pid for child in children)})


def ours(bundle: Path, name: str, *flags: str) -> Server:
    """Return our endpoint with these flags."""
    command = [sys.executable, "-m", "components.inference", "serve", "--model", str(bundle)]
    return Server(name, [*command, "--port", "PORT", *flags])


def peer(name: str, module: str, bundle: Path, workers: int) -> Server:
    """Return a peer in its own environment."""
    python = REPOSITORY / ".venv-peers" / name / "bin" / "python"
    return Server(
        name,
        [str(python), "-W", "ignore", "-m", f"ci.peers.{module}", "PORT", str(workers)],
        path="/predictions/model" if name == "torchserve" else "/invocations",
        is_json=name == "litserve",
        environ={"PEER_BUNDLE": str(bundle)},
    )


@contextmanager
def running(server: Server, message: bytes) -> Iterator[Running]:
    """Start a server, wait until it answers `message` with 200, stop it and its children.

    Raises:
        BenchError: it ends, or does not answer in time; with the end of its log.
    """
    port = free_port()
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)} | server.environ
    command = [word.replace("PORT", str(port)) for word in server.command]
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=log, cwd=REPOSITORY, start_new_session=True
        )
        try:
            _wait(process, server, port, message, log)
            yield Running(server, port, process.pid, time.monotonic() - started)
        finally:
            _stop(process)


def free_port() -> int:
    """Return a free loopback port that every server takes."""
    for _ in range(200):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1]) % 10_000 + 20_000
        with socket.socket() as probe:
            if port < _LARGEST_PORT and probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise BenchError("bench: no free port between 20000 and 30000; end what listens there")


def _wait(
    process: subprocess.Popen[bytes], server: Server, port: int, message: bytes, log: object
) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    kind = "application/json" if server.is_json else "image/jpeg"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{server.path}", data=message, headers={"content-type": kind}
    )
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    log.seek(0)  # type: ignore[attr-defined]
    tail = log.read()[-2000:].decode(errors="replace")  # type: ignore[attr-defined]
    raise BenchError(f"bench: {server.name} does not answer; its log ends with:\n{tail}")


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def _role(command: Sequence[str], is_root: bool) -> str:
    text = " ".join(command)
    roles = {
        "model_service_worker": "workers",
        "ModelServer": "java",
        "inference.collector": "collector",
        "inference.drift_child": "drift test",
    }
    for part, role in roles.items():
        if part in text:
            return role
    return "front" if is_root else "other"


def _stop(process: subprocess.Popen[bytes]) -> None:
    children = (
        psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    )
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:  # some peers leave theirs behind
        if child.is_running():
            child.kill()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _pss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it ended meanwhile
        return 0.0
    (line,) = [line for line in text.splitlines() if line.startswith("Pss:")]
    return 1024 * float(line.split()[1])
