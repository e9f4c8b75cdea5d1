"""Run pipelines on this machine: no server, no credentials, no network.

Jobs are child processes, or containers where the caller gives docker.py's launcher; all
else is the same, the cache too: a step that ran either way runs no more.

<home>/s3/<bucket>/...                          stands in for S3
<home>/pipelines/<pipeline>.json                definitions, as upserted
<home>/executions/<pipeline>/<execution>/       definition.json, execution.json, <Step>/log.txt
<home>/cache/                                   finished steps by content
<home>/checkpoints/                             of trainings that were interrupted
<home>/studies/                                 searches for hyperparameters, to go on with
<home>/registry.json                            the model registry
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.files import write_text
from shared.component.port import ParameterValue
from shared.pipeline.backends.base import Watcher
from shared.pipeline.backends.cache import ContentHashes, StepCache
from shared.pipeline.backends.interpreter import Interpreter, nodes_of
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Launcher
from shared.pipeline.backends.processes import ProcessLauncher
from shared.pipeline.backends.resolve import Scope, parameter_values, read_json_file
from shared.pipeline.backends.steps import LocalSteps
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import ExecutionError
from shared.pipeline.execution import Execution, local_arn
from shared.pipeline.registry import FileRegistry
from shared.pipeline.settings import Settings

Json = dict[str, Any]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class LocalBackend:
    """The local backend.

    use_cache: False runs every step anew.
    launcher: gives what starts jobs while an execution runs; default: child processes.
    """

    settings: Settings
    use_cache: bool = True
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    launcher: Callable[[], AbstractContextManager[Launcher]] | None = None

    @property
    def registry(self) -> FileRegistry:
        return FileRegistry(self.settings.home / "registry.json", self.settings.region)

    @property
    def store(self) -> Store:
        return Store(self.settings.home / "s3")

    def upsert(self, name: str, definition: str) -> str:
        path = self._definition(name)
        state = "updated" if path.exists() else "created"
        if path.exists() and path.read_text() == definition:
            return "unchanged"
        write_text(path, definition)
        return state

    def start(
        self, name: str, parameters: Mapping[str, ParameterValue], watch: Watcher
    ) -> Execution:
        """Run an execution to its end; SIGINT and SIGTERM stop it and leave nothing running.

        Raises:
            ExecutionError: the pipeline was never upserted.
            SettingsError: what starts jobs is not there.
            UsageError: a parameter is unknown or impossible.
        """
        text = self._read(name)
        definition = json.loads(text)
        values = parameter_values(definition["Parameters"], parameters)
        identity = secrets.token_hex(6)
        arn = local_arn("pipeline", f"{name}/execution/{identity}", self.settings.region)
        execution = Execution(name, arn, parameters=values)
        folder = self._executions(name) / identity
        processes = nullcontext(ProcessLauncher(self.environ))
        with self.launcher() if self.launcher else processes as launcher, _stoppable() as stop:
            write_text(folder / "definition.json", text)
            runner = JobRunner(self.store, launcher, stop)
            self._interpret(definition, execution, folder, watch, runner)
        return execution

    def wait(self, execution: Execution, watch: Watcher) -> Execution:  # noqa: ARG002
        return execution  # `start` has waited: an execution lives in the process that runs it

    def list(self, name: str) -> list[Execution]:
        found = [Execution.load(p.parent) for p in self._executions(name).glob("*/execution.json")]
        return sorted(found, key=lambda execution: execution.start, reverse=True)

    def describe(self, name: str, execution_id: str) -> Execution:
        folder = self._executions(name) / execution_id.rpartition("/")[2]
        if not (folder / "execution.json").is_file():
            raise ExecutionError(f"local: no execution '{execution_id}' of '{name}'; see --list")
        return Execution.load(folder)

    def _interpret(
        self,
        definition: Json,
        execution: Execution,
        folder: Path,
        watch: Watcher,
        runner: JobRunner,
    ) -> None:
        home, stop = self.settings.home, runner.stop
        hashes = ContentHashes(home / "cache" / "hashes.json")
        scope = self._scope(definition, execution)
        steps = LocalSteps(
            execution=execution,
            scope=scope,
            folder=folder,
            root=self.settings.root,
            home=home,
            cache=StepCache(home / "cache", runner.store, hashes),
            runner=runner,
            registry=self.registry,
            defaults_file=self.settings.defaults_file,
            use_cache=self.use_cache,
        )
        last_states: list[str] = []

        def on_change() -> None:
            states = [execution.status, *(step.status for step in execution.steps.values())]
            if states != last_states:
                last_states[:] = states
                execution.save(folder)
            watch(execution)

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        try:
            Interpreter(
                definition, execution, scope, steps.run, on_change, stop, cores=max(2, cores or 1)
            ).run()
        finally:
            hashes.save()

    def _scope(self, definition: Json, execution: Execution) -> Scope:
        files = {
            (node.name, file["PropertyFileName"]): (file["OutputName"], file["FilePath"])
            for node in nodes_of(definition)
            for file in node.body.get("PropertyFiles", [])
        }
        variables = {
            "PipelineName": execution.pipeline,
            "PipelineArn": execution.arn.partition("/execution/")[0],
            "PipelineExecutionId": execution.id,
            "PipelineExecutionArn": execution.arn,
            "StartDateTime": execution.start,
            "CurrentDateTime": execution.start,
        }
        read = self.store.path
        return Scope(
            execution.parameters, variables, lambda uri: read_json_file(read(uri), uri), files
        )

    def _read(self, name: str) -> str:
        path = self._definition(name)
        if not path.is_file():
            raise ExecutionError(f"local: no pipeline '{name}' in {path.parent}; add --upsert")
        return path.read_text()

    def _definition(self, name: str) -> Path:
        return self.settings.home / "pipelines" / f"{name}.json"

    def _executions(self, name: str) -> Path:
        return self.settings.home / "executions" / name


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event while the block runs."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; a caller stops it otherwise
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
