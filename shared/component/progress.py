"""Progress of long work: a bar on a terminal, lines that can be scraped elsewhere.

Off a terminal a line `progress=120/480 unit=images` is logged at most every two
seconds; the local backend reads these lines from a step's log.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)
Item = TypeVar("Item")
PROGRESS_PATTERN = r"progress=(\d+)/(\d+) unit=(\S+)"
_INTERVAL_S = 2.0


def track(items: Iterable[Item], total: int, unit: str, label: str = "") -> Iterator[Item]:
    """Yield the items and show how many of `total` are done.

    unit: what is counted, one word in the plural, for example `images`.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, label or unit)
        return
    last = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last >= _INTERVAL_S:
            last = time.monotonic()
            log.info("progress=%d/%d unit=%s", done, total, unit)
    if done:
        log.info("progress=%d/%d unit=%s", done, total, unit)


def _bar(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(items, description=label, total=total, console=console)
