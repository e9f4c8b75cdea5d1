"""An execution and its steps, in the words of DescribePipelineExecution and ListSteps."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.component.files import write_json
from shared.component.port import ParameterValue
from shared.pipeline.settings import NO_ACCOUNT

ENDED = ("Succeeded", "Failed", "Stopped")


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class StepRecord:
    """One step of an execution.

    status: Waiting (not reached yet), Executing, Succeeded, Failed, Stopped, or
        NotExecuted where a branch was not taken or a step before it failed.
    outputs: S3 URI by output name.
    progress: what a running step says last, for the display.
    """

    name: str
    type: str
    status: str = "Waiting"
    start: str = ""
    end: str = ""
    reason: str = ""
    cached_from: str = ""
    job: str = ""
    log: str = ""
    outcome: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    progress: str = ""

    @property
    def has_ended(self) -> bool:
        return self.status in (*ENDED, "NotExecuted")

    def seconds(self, now: str) -> float:
        if not self.start:
            return 0.0
        end = datetime.fromisoformat(self.end or now)
        return (end - datetime.fromisoformat(self.start)).total_seconds()


@dataclass
class Execution:
    """One run of a pipeline; `arn` is its identity on every backend."""

    pipeline: str
    arn: str
    status: str = "Executing"
    reason: str = ""
    start: str = field(default_factory=timestamp)
    end: str = ""
    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    steps: dict[str, StepRecord] = field(default_factory=dict)
    process_id: int = field(default_factory=os.getpid)

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    def save(self, folder: Path) -> None:
        write_json(folder / "execution.json", asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Execution:
        """Read an execution; one whose process is gone is shown as Stopped."""
        body: dict[str, Any] = json.loads((folder / "execution.json").read_text())
        steps = {name: StepRecord(**step) for name, step in body.pop("steps").items()}
        execution = cls(**body, steps=steps)
        if execution.status == "Executing" and not _is_alive(execution.process_id):
            execution.status, execution.reason = "Stopped", "its process ended without a word"
        return execution


def local_arn(kind: str, name: str, region: str) -> str:
    return f"arn:aws:sagemaker:{region}:{NO_ACCOUNT}:{kind}/{name}"


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
