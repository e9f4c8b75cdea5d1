"""An engine without Docker: images by name, and builds that are small child processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.engine import Ended
from ci.errors import PushError

BASE = "python:3.11-slim-bookworm"
BASE_ID = "sha256:" + "b" * 64

# What BuildKit prints with --progress=plain (buildx 0.13), shortened.
GOOD = """\
#0 building with "default" instance using docker driver
#1 [internal] load remote build context
#1 DONE 0.0s
#5 [1/3] FROM docker.io/library/python:3.11-slim-bookworm
#5 CACHED
#6 [2/3] COPY containers/install containers/install
#6 DONE 0.1s
#7 [3/3] RUN sh containers/install components/sheep/requirements.txt
#7 1.234 Collecting wool==1.0
#7 DONE 2.5s
#8 exporting to image
#8 DONE 0.1s
"""
BAD = """\
#5 [1/3] FROM docker.io/library/python:3.11-slim-bookworm
#5 CACHED
#6 [2/3] COPY containers/install containers/install
#6 DONE 0.1s
#7 [3/3] RUN sh containers/install components/sheep/requirements.txt
#7 1.234 Collecting wool==1.0
#7 2.345 ERROR: No matching distribution found for wool==1.0
#7 ERROR: process "/bin/sh -c sh containers/install" did not complete successfully: exit code: 1
------
 > [3/3] RUN sh containers/install components/sheep/requirements.txt:
2.345 ERROR: No matching distribution found for wool==1.0
------
ERROR: failed to solve: process "/bin/sh -c sh containers/install" did not complete successfully
"""
# Reads all its context as BuildKit does, prints a log, ends with a status.
_BUILD = """
import sys
log, status, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sys.stdin.buffer.read()
sys.stdout.write(log)
sys.stdout.flush()
import time
time.sleep(seconds)
sys.exit(status)
"""


@dataclass
class FakeEngine:
    """Keeps what it is told; `log`, `status` and `help` say how builds and images behave."""

    images: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {BASE: {"Id": BASE_ID, "RepoDigests": []}}
    )
    log: str = GOOD
    status: int = 0
    build_s: float = 0.0
    entrypoint: Sequence[str] = ("python", "-m", "components.sheep")
    help: Ended = field(default_factory=lambda: Ended(0, "usage: sheep\n", ""))
    pullable: tuple[str, ...] = ()
    builds: list[list[str]] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    remote: dict[str, str] = field(default_factory=dict)
    pushed: list[tuple[str, Mapping[str, str] | None]] = field(default_factory=list)
    refusal: str = ""
    runs: list[tuple[str, list[str], Sequence[str] | None]] = field(default_factory=list)
    looked_up: list[tuple[str, Mapping[str, str] | None]] = field(default_factory=list)

    def image(self, reference: str) -> dict[str, Any] | None:
        return self.images.get(reference)

    def pull(self, reference: str) -> None:
        self.pulled.append(reference)
        self.images[reference] = {"Id": f"sha256:{len(self.pulled):064}", "RepoDigests": []}

    def tag(self, reference: str, name: str) -> None:
        self.images[name] = self.images[reference]

    def untag(self, name: str) -> None:
        self.images.pop(name, None)

    def names(self, repository: str) -> list[str]:
        return [name for name in self.images if name.startswith(f"{repository}:")]

    def run(
        self, reference: str, command: Sequence[str], entrypoint: Sequence[str] | None = None
    ) -> Ended:
        self.runs.append((reference, list(command), entrypoint))
        return self.help

    def buildx(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        self.builds.append(list(arguments))
        if not self.status:
            name = arguments[list(arguments).index("-t") + 1]
            settings = {"Entrypoint": list(self.entrypoint)}
            self.images[name] = {"Id": "sha256:" + "c" * 64, "Config": settings}
        return subprocess.Popen(
            [sys.executable, "-c", _BUILD, self.log, str(self.status), str(self.build_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def digest_in_registry(
        self, reference: str, credentials: Mapping[str, str] | None = None
    ) -> str | None:
        self.looked_up.append((reference, credentials))
        return self.remote.get(reference)

    def push(self, name: str, credentials: Mapping[str, str] | None = None) -> str:
        if self.refusal:
            raise PushError(f"push: {name} is refused: {self.refusal}")
        self.pushed.append((name, credentials))
        self.remote[name] = "sha256:" + "d" * 64
        return self.remote[name]


@dataclass
class Heard:
    """A watch that keeps what it was told."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    ends: list[tuple[str, str]] = field(default_factory=list)

    def step(self, component: str, text: str) -> None:
        self.steps.append((component, text))

    def end(self, component: str, text: str) -> None:
        self.ends.append((component, text))
