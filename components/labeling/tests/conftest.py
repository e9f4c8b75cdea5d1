"""What the tests of merge share."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.labeling.tests.merge_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
