"""The programs that were started, so that a `ci web` that was killed leaves none for good.

<home>/programs.jsonl has a line for each. A number alone could be another process's by now:
the moment of its start goes with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

log = logging.getLogger(__name__)
_STOP_S = 30.0


@dataclass(frozen=True)
class Ledger:
    """One file; who holds the home's lock writes it."""

    path: Path

    def add(self, process_id: int) -> None:
        """Remember a process that was started."""
        try:
            started = psutil.Process(process_id).create_time()
        except psutil.NoSuchProcess:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"process_id": process_id, "started": started}) + "\n")

    def end_leftovers(self) -> None:
        """End what an earlier `ci web` has left running, and begin anew."""
        left = list(self._running())
        for process in left:
            log.warning("web: ending process %d of a `ci web` that was killed", process.pid)
            process.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=_STOP_S)
        for process in stubborn:
            process.kill()
        self.path.unlink(missing_ok=True)

    def _running(self) -> Iterator[psutil.Process]:
        try:
            *lines, _unfinished = self.path.read_text().split("\n")
        except FileNotFoundError:
            return
        for entry in map(json.loads, lines):
            try:
                process = psutil.Process(entry["process_id"])
                if process.create_time() == entry["started"]:
                    yield process
            except psutil.NoSuchProcess:
                continue
