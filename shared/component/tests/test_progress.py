"""Progress off a terminal: lines that the local backend reads from a step's log."""

from __future__ import annotations

import logging
import re
from itertools import count

import pytest

from shared.component.progress import PROGRESS_PATTERN, track


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="shared")


def test_items_pass_through_in_order_and_the_last_line_tells_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert list(track(iter("abc"), 3, "images")) == ["a", "b", "c"]
    found = re.search(PROGRESS_PATTERN, caplog.messages[-1])
    assert found is not None
    assert found.groups() == ("3", "3", "images")


def test_fast_work_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert sum(1 for _ in track(range(10_000), 10_000, "images")) == 10_000
    assert len(caplog.messages) == 1


def test_slow_work_reports_every_two_seconds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count()  # a second passes whenever somebody looks
    monkeypatch.setattr("shared.component.progress.time.monotonic", lambda: next(clock))
    assert len(list(track(range(6), 6, "batches"))) == 6
    done = [re.search(PROGRESS_PATTERN, m)[1] for m in caplog.messages]  # type: ignore[index]
    assert done[0] == "2"
    assert done[-1] == "6"
    assert len(done) < 6


def test_no_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert list(track([], 0, "images")) == []
    assert caplog.messages == []
