"""What all tests share: one thread each, since two processes of them run side by side."""

from __future__ import annotations

import os

import pytest

# Threads that wait for one another spin; with more of them than cores everything becomes
# several times slower. Read when torch is imported, so set here, for child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests/endpoint test any endpoint; without options it starts one of its own."""
    group = parser.getgroup("endpoint", "which endpoint tests/endpoint tests")
    group.addoption("--endpoint-url", help="one at http://host:port: a container, ci serve")
    group.addoption("--endpoint-name", help="its name; without an address: one on AWS")
    group.addoption("--golden", help="bundle whose golden images it must answer as they say")
    group = parser.getgroup("labelstudio", "tests of the labelling loop")
    group.addoption("--screenshots", help="folder for pictures of what people see")


def pytest_configure(config: pytest.Config) -> None:
    """Say once, and not for every test, what is missing."""
    is_named = config.getoption("endpoint_url") or config.getoption("endpoint_name")
    if is_named and not config.getoption("golden"):
        raise pytest.UsageError("an endpoint that is named needs --golden BUNDLE, its own bundle")
