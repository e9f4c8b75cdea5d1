"""The local AWS over a workshop of fakes, and boto3's clients of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.conftest import Workshop, make_workshop

PIPELINE = "visionloop"
TOKEN = "a-token-that-is-long-enough-for-aws"  # noqa: S105 - of idempotency


@dataclass(frozen=True)
class Place:
    """A running local AWS."""

    workshop: Workshop
    url: str
    route: Route

    def client(self, service: str, caller: str = "tester") -> Any:
        return client(self.url, service, caller)

    @property
    def home(self) -> Path:
        return self.workshop.home


def client(url: str, service: str, caller: str = "tester") -> Any:
    """Return boto3's client of an address, which it asks once."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=caller,
        aws_secret_access_key="none",  # noqa: S106 - opens nothing
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )


def wait_until(is_true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, f"not so within {seconds:g} s"
        time.sleep(0.02)


def make(folder: Path) -> Workshop:
    """Return a workshop that `python pipeline.py` can be called in."""
    workshop = make_workshop(folder)
    shutil.copy(REPOSITORY / "pipeline.py", workshop.root)
    return workshop


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One execution that succeeded, one from the cache, and one that failed; only to read."""
    workshop = make(tmp_path_factory.mktemp("ran"))
    good = ("-p", "TrainDataset=sample://one", "-p", "Epochs=30")
    assert workshop.start(*good)[0] == 0
    assert workshop.start(*good)[0] == 0
    assert workshop.start("-p", "TrainDataset=sample://one", "-p", "Epochs=1")[0] == 1
    yield from _serve(workshop)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place where nothing has happened yet."""
    yield from _serve(make(tmp_path))


def _serve(workshop: Workshop) -> Iterator[Place]:
    route = Route()
    with local_aws(workshop.settings, route, environ=workshop.environ) as url:
        yield Place(workshop, url, route)
