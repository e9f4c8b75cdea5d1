"""What starts the instances of a job, and what it is told: the tree that SageMaker would mount.

Two launchers do it: child processes (processes.py) and containers (docker.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from shared.component.layout import Layout
from shared.component.spec import ComponentSpec

Json = dict[str, Any]
# The variable of shared.component.storage, which the host does not import: it is for images.
S3_ROOT_VARIABLE = "VISIONLOOP_S3_ROOT"
GRACE_S = 10.0  # between SIGTERM and SIGKILL; SageMaker gives 120 s


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The execution was asked to stop."""


@dataclass(frozen=True)
class Job:
    """One job to run.

    execution, step: identities of what it belongs to.
    request: the resolved CreateProcessingJob or CreateTrainingJob request.
    folder: scratch folder of the step; the job's tree and log go below.
    checkpoints: survives a job that was killed, so that its successor resumes.
    threads: how many cores the job may count on.
    """

    execution: str
    step: str
    spec: ComponentSpec
    request: Json
    folder: Path
    checkpoints: Path
    root: Path
    threads: int

    @property
    def name(self) -> str:
        return f"{self.execution}-{self.step}"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def is_training(self) -> bool:
        return "AlgorithmSpecification" in self.request

    @property
    def image(self) -> str:
        """The URI of the image, as the definition names it."""
        if self.is_training:
            return str(self.request["AlgorithmSpecification"]["TrainingImage"])
        return str(self.request["AppSpecification"]["ImageUri"])

    @property
    def arguments(self) -> list[str]:
        """What the image's entrypoint is given."""
        if self.is_training:
            return ["train"]
        return list(self.request["AppSpecification"].get("ContainerArguments", []))

    @property
    def variables(self) -> dict[str, str]:
        """What SageMaker itself puts into the environment."""
        return {"TRAINING_JOB_NAME": self.name} if self.is_training else {}

    @property
    def max_runtime_s(self) -> float:
        stopping = self.request.get("StoppingCondition", {})
        return float(stopping.get("MaxRuntimeInSeconds", 86400))  # SageMaker's own default


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine and where in its tree a job sees it, without a copy."""

    source: Path
    target: Path
    is_read_only: bool = True


@dataclass(frozen=True)
class Tree:
    """What one instance of a job sees as /opt/ml.

    host: the instance's name among those of the job.
    layout: the folder of this machine that holds the tree.
    mounts: what the launcher shows in it.
    s3_root: the folder that stands in for S3; links in the tree lead into it.
    """

    host: str
    layout: Layout
    mounts: tuple[Mount, ...]
    s3_root: Path


@dataclass(frozen=True)
class Exit:
    """How an instance ended.

    status: of the process; negative: killed by that signal.
    reason: why, where the launcher knows more than the component could say.
    retry_type: as in JobError.
    """

    status: int
    reason: str = ""
    retry_type: str = ""


class Running(Protocol):
    """An instance that was started."""

    def poll(self) -> Exit | None:
        """Return how it ended, None while it runs."""
        ...


class Launcher(Protocol):
    """Starts instances and ends them."""

    def start(self, job: Job, tree: Tree, log: IO[bytes]) -> Running:
        """Start an instance whose output goes to `log`.

        Raises:
            JobError: it cannot be started; nothing of it is left.
        """
        ...

    def stop(self, running: Sequence[Any]) -> None:
        """End what still runs, with all it started; return when nothing is left of any."""
        ...
