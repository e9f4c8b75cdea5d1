"""A world with and without a first run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from components.retrain.decide import Outcome, Wake
from components.retrain.tests.world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield World()


@pytest.fixture
def trained(world: World) -> World:
    """A world whose first set was trained on."""
    world.put("raw/scenes/train/a.jpg")
    world.put("raw/scenes/_SUCCESS")
    assert world.look(Wake.RAW) is Outcome.START
    world.pipelines.end()
    return world
