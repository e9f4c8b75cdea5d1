"""Run one job as child processes on the tree that SageMaker would mount.

Each instance of the job gets a tree of its own (shared.component.layout says what is
where) and a child process in its own process group. When all ended well their outputs
are merged and moved to their S3 URIs; before that nothing can be seen of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.files import write_json
from shared.component.layout import BASE_DIR_VARIABLE, OPT_ML, Layout
from shared.component.spec import ComponentSpec
from shared.pipeline.backends.archive import pack
from shared.pipeline.backends.cache import (
    input_sources,
    instance_count,
    output_uris,
    parameters,
)
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import DefinitionError, JobError

Json = dict[str, Any]
# The variable of shared.component.storage, which the host does not import: it is for images.
S3_ROOT_VARIABLE = "VISIONLOOP_S3_ROOT"
_POLL_S = 0.02
_GRACE_S = 10.0  # between SIGTERM and SIGKILL; SageMaker gives 120 s
_REASON_CHARS = 1024


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The execution was asked to stop."""


@dataclass(frozen=True)
class Job:
    """One job to run.

    request: the resolved CreateProcessingJob or CreateTrainingJob request.
    folder: scratch folder of the step; the job's tree and log go below.
    checkpoints: survives a job that was killed, so that its successor resumes.
    threads: how many cores the job may count on.
    """

    name: str
    spec: ComponentSpec
    request: Json
    folder: Path
    checkpoints: Path
    root: Path
    threads: int

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def is_training(self) -> bool:
        return "AlgorithmSpecification" in self.request

    @property
    def max_runtime_s(self) -> float:
        stopping = self.request.get("StoppingCondition", {})
        return float(stopping.get("MaxRuntimeInSeconds", 86400))  # SageMaker's own default


@dataclass
class JobRunner:
    """Runs jobs against one store; `stop` ends every child."""

    store: Store
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, job: Job) -> Json:
        """Run the job to its end and return what Describe would answer.

        Raises:
            JobError: it failed; the message is the reason the component left.
            Stopped: `stop` was set meanwhile.
        """
        layouts = self._lay_out(job)
        try:
            self._run_children(job, layouts)
            return self._publish(job, layouts)
        finally:
            shutil.rmtree(job.folder / "ml", ignore_errors=True)

    def _lay_out(self, job: Job) -> list[Layout]:
        shutil.rmtree(job.folder / "ml", ignore_errors=True)
        hosts = [f"algo-{number}" for number in range(1, instance_count(job.request) + 1)]
        layouts = [Layout(job.folder / "ml" / host) for host in hosts]
        for index, (host, layout) in enumerate(zip(hosts, layouts, strict=True)):
            self._write_configs(job, layout, host, hosts)
            for name, source in input_sources(job.request).items():
                target = layout.input_dir(job.spec, job.spec.input(name))
                self._link(source, target, index, len(hosts))
            for port in job.spec.outputs.values():
                layout.output_dir(job.spec, port).mkdir(parents=True, exist_ok=True)
            job.checkpoints.mkdir(parents=True, exist_ok=True)
            layout.checkpoints.symlink_to(job.checkpoints)
        for uri in set(output_uris(job.request).values()) & set(_values(job)):
            # What the step reads where it writes: empty is an answer, S3 is not asked.
            self.store.path(uri).mkdir(parents=True, exist_ok=True)
        return layouts

    def _write_configs(self, job: Job, layout: Layout, host: str, hosts: list[str]) -> None:
        resource = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        config = layout.base / "input" / "config"
        if not job.is_training:
            write_json(layout.base / "config" / "processingjobconfig.json", job.request)
            write_json(layout.base / "config" / "resourceconfig.json", resource)
            return
        write_json(config / "hyperparameters.json", job.request.get("HyperParameters", {}))
        write_json(config / "resourceconfig.json", resource)
        channels = {
            name: {
                "TrainingInputMode": "File",
                "S3DistributionType": source.get("S3DataDistributionType"),
            }
            for name, source in input_sources(job.request).items()
        }
        write_json(config / "inputdataconfig.json", channels)

    def _link(self, source: Json, target: Path, index: int, count: int) -> None:
        """Show an input where the job looks for it, without a copy."""
        path = self.store.path(source["S3Uri"])
        if not path.exists():
            raise DefinitionError(f"local: nothing at {source['S3Uri']}: {path} is missing")
        target.parent.mkdir(parents=True, exist_ok=True)
        is_sharded = source.get("S3DataDistributionType") == "ShardedByS3Key" and count > 1
        if path.is_dir() and not is_sharded:
            target.symlink_to(path.absolute())
            return
        folder = path if path.is_dir() else path.parent
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        target.mkdir()
        for file in files[index::count] if is_sharded else files:
            link = target / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.absolute())

    def _run_children(self, job: Job, layouts: list[Layout]) -> None:
        deadline = time.monotonic() + job.max_runtime_s
        children: list[subprocess.Popen[bytes]] = []
        with job.log.open("ab") as log:
            try:
                children = [self._start(job, layout, log) for layout in layouts]
                while any(child.poll() is None for child in children):
                    if any(child.returncode for child in children):
                        break  # one instance failed: the job has
                    if self.stop.wait(_POLL_S):
                        raise Stopped
                    if time.monotonic() > deadline:
                        raise JobError(
                            f"{job.spec.name}: stopped after MaxRuntimeInSeconds = "
                            f"{job.max_runtime_s:.0f}; raise max_runtime_s in component.yaml"
                        )
            except (BlockingIOError, MemoryError) as err:  # fork: no process or memory left
                raise JobError(
                    f"{job.spec.name}: cannot start: {err}", "SageMaker.CAPACITY_ERROR"
                ) from err
            finally:
                kill_groups(children)
        for child, layout in zip(children, layouts, strict=True):
            if child.returncode:
                raise _failure(job, layout, child.returncode)

    def _start(self, job: Job, layout: Layout, log: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"components.{job.spec.name}"]
        app = job.request.get("AppSpecification", {})
        command += ["train"] if job.is_training else app.get("ContainerArguments", [])
        places = {str(job.root): None, str(Path(__file__).parents[3]): None}
        environ = dict(self.environ) | {
            **job.request.get("Environment", {}),
            BASE_DIR_VARIABLE: str(layout.base.absolute()),
            S3_ROOT_VARIABLE: str(self.store.root.absolute()),
            "PYTHONPATH": os.pathsep.join(places),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(job.threads),
        }
        return subprocess.Popen(
            command,
            cwd=job.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _publish(self, job: Job, layouts: list[Layout]) -> Json:
        """Move the outputs to their URIs and return Describe's answer."""
        first = layouts[0]
        if job.is_training:
            uri = f"{job.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output"
            archive = job.folder / "ml" / "model.tar.gz"
            pack(first.base / "model", archive)
            self.store.publish(archive, f"{uri}/model.tar.gz")
            self._publish_logs(job, first)
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
        if folder.is_dir():
            uri = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/tensorboard-output"
            self.store.publish(folder, uri)


def kill_groups(children: list[subprocess.Popen[bytes]]) -> None:
    """End every child with all it started; return when none is left."""
    _signal(children, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
    _signal(children, signal.SIGKILL)  # also what a child left behind in its group
    for child in children:
        child.wait()


def _signal(children: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for child in children:
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            continue


def _failure(job: Job, layout: Layout, status: int) -> JobError:
    """Return the error with the reason that the component left for the platform."""
    path = layout.explanation_file(job.spec)
    if path.is_file():
        text = path.read_text(errors="replace")[:_REASON_CHARS].strip()
        if not text.startswith("Traceback"):
            return JobError(text)
        # A fault of the code: its last line says what, the log has the rest.
        return JobError(f"{job.spec.name}: {text.splitlines()[-1]}")
    if status < 0:  # killed from outside, for example for memory: the platform's fault
        name = signal.Signals(-status).name
        return JobError(f"{job.spec.name}: killed by {name}", "SageMaker.JOB_INTERNAL_ERROR")
    return JobError(f"{job.spec.name}: exit status {status}")


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


def _values(job: Job) -> list[str]:
    return list(parameters(job.spec, job.request).values())
