"""One bundle for all, and one server for what does not harm it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.tests.live import FORKED, UNFORKED, Live, serving
from shared.vision.tests.served import make_served_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_served_bundle(tmp_path_factory.mktemp("bundle"), has_onnx=True).folder


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a short path, for run folders: unix sockets have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="f-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(params=[FORKED, UNFORKED], ids=["forked", "unforked"])
def program(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What serves: workers that share a loaded model, or load it themselves as on a GPU."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture(scope="session")
def server(bundle: Path) -> Iterator[Live]:
    with (
        tempfile.TemporaryDirectory(prefix="f-", dir="/tmp", ignore_cleanup_errors=True) as name,
        serving(bundle, Path(name), "--allowed-buckets", "ours") as live,
    ):
        yield live
