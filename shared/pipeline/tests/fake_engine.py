"""As much of docker.DockerClient as a launcher uses, without an engine.

What runs inside a container is a function of the test: it gets the container, may write
where /opt/ml is mounted, and returns the exit status; None: it runs until it is killed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound

Program = Callable[["FakeContainer"], int | None]


class FakeResponse:
    """What an engine answers with when it refuses."""

    def __init__(self, status_code: int) -> None:
        self.status_code, self.url, self.reason = status_code, "http+docker://", "refused"


def refusal(status_code: int, explanation: str) -> APIError:
    return APIError("refused", FakeResponse(status_code), explanation)


class FakeContainer:
    """One container of a fake engine."""

    def __init__(self, engine: FakeEngine, image: str, options: dict[str, Any]) -> None:
        self.engine, self.image, self.options = engine, image, options
        self.attrs: dict[str, Any] = {}
        self.signals: list[str] = []
        self.status: int | None = None
        self.ended = threading.Event()

    def place(self, target: str) -> Path:
        """Return what is mounted at `target`, which may lie below a mount."""
        mounts = sorted(self.options["mounts"], key=lambda m: len(m["Target"]), reverse=True)
        for mount in mounts:
            if Path(target).is_relative_to(mount["Target"]):
                return Path(mount["Source"]) / Path(target).relative_to(mount["Target"])
        raise AssertionError(f"nothing is mounted at {target}")

    def start(self) -> None:
        if self.engine.refusals and (err := self.engine.refusals.pop(0)) is not None:
            raise err
        self.status = self.engine.program(self)
        if self.status is not None:
            self.ended.set()

    def logs(self, *, stream: bool, follow: bool) -> Iterator[bytes]:
        assert stream
        assert follow
        yield b"said inside\n"
        self.ended.wait()
        if self.engine.is_lost:
            raise ConnectionError("the engine is gone")

    def wait(self, *, timeout: float | None) -> dict[str, Any]:
        assert timeout is None  # a job may take days
        return {"StatusCode": self.status}

    def reload(self) -> None:
        self.attrs = {"State": {"OOMKilled": self.engine.is_out_of_memory}}

    def kill(self, *, signal: str) -> None:
        if self.ended.is_set():
            raise refusal(409, "is not running")
        self.signals.append(signal)
        if signal == "SIGKILL" or not self.engine.is_stubborn:
            self.status = 128 + _number(signal)
            self.ended.set()

    def remove(self, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self.engine.left.remove(self)
        self.ended.set()


class FakeImage:
    """An image; `entrypoint` as in its configuration."""

    def __init__(self, name: str, entrypoint: list[str] | None) -> None:
        self.id, self.attrs = f"id of {name}", {"Config": {"Entrypoint": entrypoint}}


class FakeEngine:
    """An engine with images by name; its containers run `program`.

    refusals: what the next starts raise, one by one; None: that one starts.
    """

    def __init__(self, program: Program, *names: str) -> None:
        self.program = program
        self.known = {name: FakeImage(name, ["python", "-m", "components.X"]) for name in names}
        self.refusals: list[APIError | None] = []
        self.is_out_of_memory = self.is_stubborn = self.is_lost = False
        self.made: list[FakeContainer] = []
        self.left: list[FakeContainer] = []
        self.images = self.containers = self

    def get(self, name: str) -> FakeImage:
        if name not in self.known:
            raise ImageNotFound(f"no such image: {name}")
        return self.known[name]

    def create(self, image: str, **options: Any) -> FakeContainer:
        container = FakeContainer(self, image, options)
        self.made.append(container)
        self.left.append(container)
        return container


def _number(name: str) -> int:
    return int(signal.Signals[name])
