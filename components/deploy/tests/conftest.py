"""One stage a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.deploy.tests.stage import Stage, staged


@pytest.fixture
def endpoint() -> Iterator[Stage]:
    with staged("endpoint") as stage:
        yield stage


@pytest.fixture
def serverless() -> Iterator[Stage]:
    with staged("serverless") as stage:
        yield stage


@pytest.fixture
def function() -> Iterator[Stage]:
    with staged("lambda") as stage:
        yield stage
