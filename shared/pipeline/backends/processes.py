"""Run the instances of a job as child processes, each in a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.component.layout import BASE_DIR_VARIABLE
from shared.pipeline.backends.launcher import GRACE_S, S3_ROOT_VARIABLE, Exit, Job, Tree
from shared.pipeline.errors import JobError


@dataclass(frozen=True)
class Child:
    """A child process that leads a group."""

    process: subprocess.Popen[bytes]

    def poll(self) -> Exit | None:
        status = self.process.poll()
        return None if status is None else Exit(status)


@dataclass(frozen=True)
class ProcessLauncher:
    """Starts `python -m components.X` with this interpreter."""

    environ: Mapping[str, str]

    def start(self, job: Job, tree: Tree, log: IO[bytes]) -> Child:
        """Start a child that finds its tree by SAGEMAKER_BASE_DIR.

        Raises:
            JobError: no process or memory is left.
        """
        for mount in tree.mounts:
            mount.target.symlink_to(mount.source)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", f"components.{job.spec.name}", *job.arguments],
                cwd=job.folder,
                env=self._environment(job, tree),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (BlockingIOError, MemoryError) as err:
            raise JobError(
                f"{job.spec.name}: cannot start: {err}", "SageMaker.CAPACITY_ERROR"
            ) from err
        return Child(process)

    def stop(self, running: Sequence[Child]) -> None:
        """End every child with all it started; return when none is left."""
        children = [child.process for child in running]
        _signal(children, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
        _signal(children, signal.SIGKILL)  # also what a child left behind in its group
        for child in children:
            child.wait()

    def _environment(self, job: Job, tree: Tree) -> dict[str, str]:
        places = {str(job.root): None, str(Path(__file__).parents[3]): None}
        return {
            **self.environ,
            **job.variables,
            **job.request.get("Environment", {}),
            BASE_DIR_VARIABLE: str(tree.layout.base),
            S3_ROOT_VARIABLE: str(tree.s3_root),
            "PYTHONPATH": os.pathsep.join(places),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(job.threads),
        }


def _signal(children: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for child in children:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            continue
