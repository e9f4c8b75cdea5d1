"""Show work on several components at a time: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.table import Table

_STEP_CHARS = 100


class Watch(Protocol):
    """Is told what goes on; called from several threads."""

    def step(self, component: str, text: str) -> None: ...

    def end(self, component: str, text: str) -> None: ...


@dataclass
class Lines:
    """One line for every step."""

    out: TextIO
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, component: str, text: str) -> None:
        self._write(component, text[:_STEP_CHARS])

    def end(self, component: str, text: str) -> None:
        self._write(component, text)

    def _write(self, component: str, text: str) -> None:
        with self._lock:
            self.out.write(f"{component}: {text}\n")
            self.out.flush()


@dataclass
class Row:
    """What the table shows of one component."""

    text: str
    started_s: float
    ended_s: float | None = None


@dataclass
class Rows:
    """A table that rich draws anew several times a second."""

    _rows: dict[str, Row] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, component: str, text: str) -> None:
        with self._lock:
            row = self._rows.setdefault(component, Row(text, time.monotonic()))
            row.text = text

    def end(self, component: str, text: str) -> None:
        self.step(component, text)
        with self._lock:
            self._rows[component].ended_s = time.monotonic()

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("component", "step", "seconds", box=None)
        with self._lock:
            for component, row in self._rows.items():
                seconds = (row.ended_s or time.monotonic()) - row.started_s
                style = "cyan" if row.ended_s is None else ""
                table.add_row(component, row.text[:_STEP_CHARS], f"{seconds:.0f}", style=style)
        return table


@contextmanager
def watching(out: TextIO) -> Iterator[Watch]:
    """Give what to tell progress to; it is shown on `out`."""
    if not out.isatty():
        yield Lines(out)
        return
    from rich.console import Console
    from rich.live import Live

    rows = Rows()
    with Live(rows, console=Console(file=out), refresh_per_second=4):
        yield rows
