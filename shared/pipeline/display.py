"""Show a running execution: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from shared.component.progress import PROGRESS_PATTERN
from shared.component.spec import ComponentSpec
from shared.pipeline.execution import Execution, StepRecord, timestamp

if TYPE_CHECKING:
    from rich.table import Table

# What backends/tuning.py says of a search after each trial.
_SEARCH = {"best": r"best=([-0-9.]+)"} | {
    state: rf"progress=.* {state}=(\d+)" for state in ("pruned", "failed")
}
_LINE_INTERVAL_S = 5.0  # between two progress lines of a step off a terminal
_STYLES = {"Succeeded": "green", "Failed": "bold red", "Executing": "cyan", "Stopped": "yellow"}
_MARKS = {"Succeeded": "✓", "Failed": "✗", "Executing": "▸", "Stopped": "■", "NotExecuted": "·"}


@dataclass
class LogReader:
    """Follows one step's log and keeps the last progress and metrics found in it.

    patterns: regular expression with one group by metric name, from component.yaml.
    """

    patterns: Mapping[str, str]
    _offset: int = 0
    _progress: str = ""
    _metrics: dict[str, str] = field(default_factory=dict)

    def read(self, path: Path) -> str:
        """Read what is new and return one line about the whole."""
        if path.is_file() and path.stat().st_size > self._offset:
            with path.open("rb") as stream:
                stream.seek(self._offset)
                self._take(stream.read())
                self._offset = stream.tell()
        found = [f"{name}={value}" for name, value in self._metrics.items()]
        return " ".join(filter(None, [self._progress, *found]))

    def _take(self, chunk: bytes) -> None:
        text = chunk.decode(errors="replace")
        if steps := re.findall(PROGRESS_PATTERN, text):
            done, total, unit = steps[-1]
            self._progress = f"{done}/{total} {unit}" if total != "0" else f"{done} {unit}"
        for name, pattern in self.patterns.items():
            if values := re.findall(pattern, text):
                self._metrics[name] = values[-1]


@dataclass
class Progress:
    """Fills in the `progress` of running steps from their logs."""

    components: Mapping[str, ComponentSpec]
    _readers: dict[str, LogReader] = field(default_factory=dict)

    def update(self, execution: Execution) -> None:
        for step in execution.steps.values():
            if step.log and step.status in ("Executing", "Succeeded"):
                reader = self._readers.setdefault(step.name, LogReader(self._patterns(step)))
                step.progress = reader.read(Path(step.log)) or step.progress

    def _patterns(self, step: StepRecord) -> Mapping[str, str]:
        if step.type == "Tuning":
            return _SEARCH
        for spec in self.components.values():
            if spec.name.replace("_", "").lower() == step.name.lower():
                return spec.metrics
        return {}


@dataclass
class LineDisplay:
    """One line for every change of state, and now and then one about progress."""

    progress: Progress
    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    _states: dict[str, str] = field(default_factory=dict)
    _shown: dict[str, tuple[float, str]] = field(default_factory=dict)

    def show(self, execution: Execution) -> None:
        self.progress.update(execution)
        for step in execution.steps.values():
            if self._states.get(step.name, "Waiting") != step.status:
                self._states[step.name] = step.status
                self._write(f"{step.name}: {describe(step)}")
            elif step.status == "Executing" and step.progress:
                self._show_progress(step)

    def _show_progress(self, step: StepRecord) -> None:
        last, text = self._shown.get(step.name, (float("-inf"), ""))
        if text != step.progress and self.clock() - last >= _LINE_INTERVAL_S:
            self._shown[step.name] = (self.clock(), step.progress)
            self._write(f"{step.name}: {step.progress}")

    def _write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


def describe(step: StepRecord) -> str:
    """Return a step's state in a few words."""
    words = [step.status]
    if step.cached_from:
        words.append("from cache")
    elif step.end and step.start:
        words.append(f"in {step.seconds(timestamp()):.1f} s")
    if step.outcome:
        words.append("yes" if step.outcome == "True" else "no")
    if step.reason:
        words.append(f"- {step.reason}")
    if step.status == "Succeeded" and step.progress and not step.cached_from:
        words.append(f"({step.progress})")
    return " ".join(words)


@contextmanager
def follow(
    components: Mapping[str, ComponentSpec], stream: TextIO | None = None
) -> Iterator[Callable[[Execution], None]]:
    """Give a function that shows an execution whenever it is called."""
    stream = stream or sys.stderr
    progress = Progress(components)
    if not stream.isatty():
        yield LineDisplay(progress, stream).show
        return
    from rich.console import Console  # a terminal is worth the import
    from rich.live import Live

    with Live(console=Console(file=stream), auto_refresh=False) as live:
        last_s = 0.0

        def show(execution: Execution) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s < 0.25 and execution.status == "Executing":
                return  # the eye needs no more, and the cores are for the jobs
            last_s = now_s
            progress.update(execution)
            live.update(table(execution), refresh=True)

        yield show


def table(execution: Execution) -> Table:
    """Return one row per step: state, elapsed time, what it says last."""
    from rich.table import Table

    now = timestamp()
    view = Table(box=None, pad_edge=False, title=f"{execution.pipeline} {execution.id}")
    for title in ("", "step", "state", "time", ""):
        view.add_column(title, justify="right" if title == "time" else "left")
    for step in execution.steps.values():
        style = _STYLES.get(step.status, "dim")
        seconds = f"{step.seconds(now):.0f} s" if step.start else ""
        state = "cached" if step.cached_from else step.status
        said = step.reason or step.progress
        view.add_row(_MARKS.get(step.status, " "), step.name, state, seconds, said, style=style)
    return view
