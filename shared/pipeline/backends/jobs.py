"""Run one job to its end and publish what it wrote.

Each instance of the job gets a tree of its own (tree.py) and a launcher starts it: as a
child process or as a container. When all ended well their outputs are merged and moved
to their S3 URIs; before that nothing can be seen of them.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.layout import OPT_ML, Layout
from shared.pipeline.backends.archive import pack
from shared.pipeline.backends.launcher import Exit, Job, Launcher, Running, Stopped, Tree
from shared.pipeline.backends.store import Store
from shared.pipeline.backends.tree import lay_out
from shared.pipeline.errors import JobError

Json = dict[str, Any]
Watch = Callable[[], None]
_POLL_S = 0.02
_REASON_CHARS = 1024


@dataclass
class JobRunner:
    """Runs jobs against one store; `stop` ends every instance."""

    store: Store
    launcher: Launcher
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, job: Job, watch: Watch | None = None) -> Json:
        """Run the job to its end and return what Describe would answer.

        watch: called while it runs; what it raises ends the job.

        Raises:
            JobError: it failed; the message is the reason the component left.
            Stopped: `stop` was set meanwhile.
        """
        try:
            trees = lay_out(job, self.store)
            try:
                self._run_instances(job, trees, watch)
            finally:  # curves are worth most where a training did not end well
                self._publish_logs(job, trees[0].layout)
            return self._publish(job, [tree.layout for tree in trees])
        finally:
            shutil.rmtree(job.folder / "ml", ignore_errors=True)

    def _run_instances(self, job: Job, trees: list[Tree], watch: Watch | None) -> None:
        running: list[Running] = []
        with job.log.open("ab", buffering=0) as log:
            try:
                for tree in trees:
                    running.append(self.launcher.start(job, tree, log))
                failed = self._wait(job, running, watch)
            finally:
                self.launcher.stop(running)
        if failed is not None:
            end = running[failed].poll()
            raise _failure(job, trees[failed].layout, end or Exit(1))

    def _wait(self, job: Job, running: Sequence[Running], watch: Watch | None) -> int | None:
        """Return when all ended well, or which instance did not: then the job has failed."""
        deadline = time.monotonic() + job.max_runtime_s
        while True:
            ends = [each.poll() for each in running]
            for index, end in enumerate(ends):
                if end is not None and end.status:
                    return index
            if watch:
                watch()
            if None not in ends:
                return None
            if self.stop.wait(_POLL_S):
                raise Stopped
            if time.monotonic() > deadline:
                raise JobError(
                    f"{job.spec.name}: stopped after MaxRuntimeInSeconds = "
                    f"{job.max_runtime_s:.0f}; raise max_runtime_s in component.yaml"
                )

    def _publish(self, job: Job, layouts: list[Layout]) -> Json:
        """Move the outputs to their URIs and return Describe's answer."""
        first = layouts[0]
        if job.is_training:
            uri = f"{job.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output"
            archive = job.folder / "ml" / "model.tar.gz"
            pack(first.base / "model", archive)
            self.store.publish(archive, f"{uri}/model.tar.gz")
            return {
                "TrainingJobName": job.name,
                "TrainingJobStatus": "Completed",
                "ModelArtifacts": {"S3ModelArtifacts": f"{uri}/model.tar.gz"},
                **job.request,
            }
        for output in job.request["ProcessingOutputConfig"]["Outputs"]:
            folder = _local_path(first, output)
            for other in layouts[1:]:
                _merge(_local_path(other, output), folder, job.spec.name)
            self.store.publish(folder, output["S3Output"]["S3Uri"])
        return {"ProcessingJobName": job.name, "ProcessingJobStatus": "Completed", **job.request}

    def _publish_logs(self, job: Job, layout: Layout) -> None:
        config = job.request.get("TensorBoardOutputConfig")
        if not config:
            return
        folder = layout.base / Path(config["LocalPath"]).relative_to(OPT_ML)
        if folder.is_dir() and any(folder.iterdir()):
            uri = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/tensorboard-output"
            self.store.publish(folder, uri)


def _failure(job: Job, layout: Layout, end: Exit) -> JobError:
    """Return the error with the reason that the component left for the platform."""
    if end.reason:
        return JobError(f"{job.spec.name}: {end.reason}", end.retry_type)
    path = layout.explanation_file(job.spec)
    text = path.read_text(errors="replace")[:_REASON_CHARS].strip() if path.is_file() else ""
    if text:
        if not text.startswith("Traceback"):
            return JobError(text)
        # A fault of the code: its last line says what, the log has the rest.
        return JobError(f"{job.spec.name}: {text.splitlines()[-1]}")
    if end.status < 0:  # killed from outside: the platform's fault
        name = signal.Signals(-end.status).name
        return JobError(f"{job.spec.name}: killed by {name}", "SageMaker.JOB_INTERNAL_ERROR")
    return JobError(f"{job.spec.name}: exit status {end.status}")


def _local_path(layout: Layout, output: Json) -> Path:
    return layout.base / Path(output["S3Output"]["LocalPath"]).relative_to(OPT_ML)


def _merge(source: Path, target: Path, name: str) -> None:
    """Move one instance's files beside another's, as uploading to one prefix does."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        place = target / file.relative_to(source)
        if place.exists() and place.read_bytes() != file.read_bytes():
            raise JobError(
                f"{name}: two instances wrote {file.relative_to(source)}; name it by shard"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
