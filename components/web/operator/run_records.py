"""A run of the pipeline, as the operator is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from components.web.operator.records import Record

State = Literal[
    "Waiting",
    "Starting",
    "Executing",
    "Stopping",
    "Stopped",
    "Failed",
    "Succeeded",
    "CompletedWithFailures",
    "NotExecuted",
]
ENDED = ("Stopped", "Failed", "Succeeded", "CompletedWithFailures", "NotExecuted")


class RunSummary(Record):
    """One line of the list; id: the last part of the execution's ARN."""

    id: str
    name: str = ""
    status: State
    started: datetime | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        return self.status in ENDED


class RunPage(Record):
    """A page of the list, the newest first; after: asks for the next one, None: none."""

    pipeline: str
    runs: list[RunSummary]
    after: str | None = None


class Step(Record):
    """One step of a run.

    kind: as SageMaker calls it. seconds: it took, or has taken so far.
    cached_from: id of the run whose result was taken, "" where it ran itself.
    job: name of its job, by which its log is found. branch: of the condition, if, else or "".
    """

    name: str
    kind: str = ""
    status: State
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    reason: str = ""
    cached_from: str = ""
    job: str = ""
    outcome: str = ""
    branch: str = ""


class Gate(Record):
    """One threshold that a model has to reach; comparison: >= or <=."""

    metric: str
    comparison: str
    value: float
    threshold: float
    passed: bool


class Gates(Record):
    """How the gates decided; passed: None while nobody knows; note: why there are no figures."""

    passed: bool | None = None
    results: tuple[Gate, ...] = ()
    note: str = ""


class Run(RunSummary):
    """A run with all that is known of it."""

    ended: datetime | None = None
    seconds: float | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    gates: Gates = Gates()

    @property
    def done(self) -> int:
        """How many steps have come to their end."""
        return sum(step.status in ENDED for step in self.steps)


class LogLine(Record):
    time: datetime
    text: str


class LogPage(Record):
    """A part of a step's log, the oldest line first.

    streams: one a machine. older: asks for what came before, None: nothing did.
    """

    step: str
    stream: str = ""
    streams: tuple[str, ...] = ()
    lines: tuple[LogLine, ...] = ()
    older: str | None = None
    note: str = ""
