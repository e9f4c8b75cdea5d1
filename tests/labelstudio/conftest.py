"""A real Label Studio and all it stands between, once a session; a desk of its own a test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.label_studio import ENVIRONMENT, Studio, running_studio
from ci.served import ours, running
from shared.vision.bundle import Bundle
from shared.vision.golden import read_golden
from shared.vision.tests.served import make_served_bundle
from tests.labelstudio.desk import Desk, open_desk
from tests.labelstudio.world import KEYS, OWNER, PASSWORD, Door, Storage

OpenDesk = Callable[..., Desk]


@dataclass(frozen=True)
class House:
    """What all tests of a session share; versions: ports of the endpoint by model version."""

    storage: Storage
    server: Studio
    door: Door
    versions: dict[str, int]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what is missing instead of failing for it."""
    if not (ENVIRONMENT / ".ready").exists():
        reason = "no Label Studio; run `make .venv-tools/label-studio/.ready`"
        for item in items:
            if item.get_closest_marker("labelstudio"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    storage = Storage()
    bundle = make_served_bundle(folder / "bundle")
    with ExitStack() as stack:
        stack.callback(storage.stop)
        versions = {name: _endpoint(stack, bundle, name) for name in ("1", "2")}
        door = Door(versions["1"])
        stack.callback(door.close)
        keys = KEYS | {"S3_ENDPOINT": storage.url}
        server = stack.enter_context(running_studio(folder, OWNER, PASSWORD, keys))
        yield House(storage, server, door, versions)


def _endpoint(stack: ExitStack, bundle: Bundle, version: str) -> int:
    flags = ("--telemetry", "false", "--workers", "1", "--model-version", version)
    server = ours(bundle.folder, f"version {version}", *flags)
    return stack.enter_context(running(server, read_golden(bundle)[0].data)).port


@pytest.fixture
def open_a_desk(house: House, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OpenDesk]:
    """Return what opens this test's desk, with flags for its backend."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    with ExitStack() as stack:

        def open_it(*flags: str) -> Desk:
            place = (house.storage, house.door, house.server, tmp_path)
            return stack.enter_context(open_desk(name, *place, *flags))

        yield open_it
    house.door.lead_to(house.versions["1"])


@pytest.fixture
def desk(open_a_desk: OpenDesk) -> Desk:
    return open_a_desk()
