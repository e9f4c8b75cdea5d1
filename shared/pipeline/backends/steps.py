"""How the local backend does each kind of step."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.backends.cache import Entry, StepCache, output_uris
from shared.pipeline.backends.interpreter import Node
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job, Stopped
from shared.pipeline.backends.resolve import Scope
from shared.pipeline.defaults import load_defaults
from shared.pipeline.dsl import load_components
from shared.pipeline.errors import DefinitionError, JobError
from shared.pipeline.execution import Execution, StepRecord
from shared.pipeline.images import code_hash, component_of
from shared.pipeline.registry import ModelRegistry
from shared.pipeline.search_space import as_text

Json = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class LocalSteps:
    """Does steps of one execution; `run` is the interpreter's StepRunner.

    folder: of the execution; each step's log goes below.
    root: the repository whose components are run.
    use_cache: False runs every step, and still remembers its result.
    """

    execution: Execution
    scope: Scope
    folder: Path
    root: Path
    home: Path
    cache: StepCache
    runner: JobRunner
    registry: ModelRegistry
    defaults_file: Path
    use_cache: bool = True

    def run(self, node: Node, record: StepRecord, threads: int) -> Json:
        """Do one step and return what Describe would answer for it.

        Raises:
            VisionloopError: the step failed.
            Stopped: the execution is being stopped.
        """
        body = node.body["Arguments"]
        if node.type == "Condition":
            return {"Outcome": all(self.scope.holds(each) for each in body["Conditions"])}
        arguments = self.scope.resolve(body)
        if node.type == "Fail":
            raise JobError(arguments["ErrorMessage"])
        if node.type == "RegisterModel":
            record.job = self.registry.create(arguments)
            return {"ModelPackageArn": record.job, **arguments}
        if node.type in ("Processing", "Training"):
            return self._run_job(node, record, arguments, threads)
        if node.type == "Tuning":
            return self._search(node, record, arguments, threads)
        raise DefinitionError(
            f"local: step '{node.name}' is a {node.type} step; run it with --backend sagemaker"
        )

    def _run_job(self, node: Node, record: StepRecord, arguments: Json, threads: int) -> Json:
        spec = self._spec(arguments)
        code = code_hash(spec, self.root)
        key = self.cache.key(spec, code, arguments)
        if key and self.use_cache and _may_cache(node) and (entry := self.cache.find(key)):
            record.cached_from = entry.execution_arn
            return entry.properties
        checkpoints = self.home / "checkpoints" / (key or f"{self.execution.id}-{node.name}")
        job = Job(
            execution=self.execution.id,
            step=node.name,
            spec=spec,
            request=arguments,
            folder=self.folder / node.name,
            checkpoints=checkpoints,
            root=self.root,
            threads=threads,
        )
        job.folder.mkdir(parents=True, exist_ok=True)
        record.log, record.job = str(job.log), job.name
        policies = node.body.get("RetryPolicies", [])
        properties = with_retries(policies, lambda: self.runner.run(job), self.runner.stop)
        shutil.rmtree(checkpoints, ignore_errors=True)
        self._remember(key, spec, code, arguments, properties)
        return properties

    def _search(self, node: Node, record: StepRecord, arguments: Json, threads: int) -> Json:
        """Run a search, or answer with one that has ended."""
        from shared.pipeline.backends import search_plan, tuning  # imports optuna

        spec = self._spec(arguments["TrainingJobDefinition"])
        code = code_hash(spec, self.root)
        base = self.cache.key(spec, code, search_plan.trial_request(arguments, {}))
        study = search_plan.study_key(base or self.execution.id, arguments)
        plan = search_plan.Plan(
            execution=self.execution.id,
            step=node.name,
            spec=spec,
            request=arguments,
            folder=self.folder / node.name,
            home=self.home,
            root=self.root,
            threads=threads,
            key=study,
            code=code,
            first=self._defaults_of(spec),
        )
        key = f"{study}-{plan.trials}" if base else None
        if key and self.use_cache and _may_cache(node) and (entry := self.cache.find(key)):
            record.cached_from = entry.execution_arn
            return entry.properties
        if not self.use_cache and plan.study.exists():
            plan.study.rename(plan.study.with_name(f"{study}-before-{self.execution.id}"))
        plan.folder.mkdir(parents=True, exist_ok=True)
        record.log, record.job = str(plan.log), plan.job
        policies = node.body.get("RetryPolicies", [])
        search = tuning.Search(
            plan, self.runner, lambda attempt: with_retries(policies, attempt, self.runner.stop)
        )
        properties = search.run()
        best = plan.model(properties["BestTrainingJob"]["TrainingJobName"])
        outputs = {uri: self.cache.content(uri) for uri in (best, plan.record)}
        if key:
            self.cache.put(key, Entry(properties, outputs, self.execution.arn))
        return properties

    def _defaults_of(self, spec: ComponentSpec) -> dict[str, str]:
        """Return what a component's parameters are where nobody says otherwise."""
        own = {n: p.default for n, p in spec.parameters.items() if p.default is not None}
        components = load_components(self.root / "components")
        adopted = load_defaults(self.defaults_file, components).values
        found = {name: adopted.get(f"{spec.name}.{name}", value) for name, value in own.items()}
        return {name: as_text(value) for name, value in found.items()}

    def _remember(
        self, key: str | None, spec: ComponentSpec, code: str, arguments: Json, properties: Json
    ) -> None:
        uris = list(output_uris(arguments).values())
        uris += [
            uri for uri in [properties.get("ModelArtifacts", {}).get("S3ModelArtifacts")] if uri
        ]
        outputs = {uri: self.cache.content(uri) for uri in uris}
        entry = Entry(properties, outputs, self.execution.arn)
        # A step that also reads where it wrote is idempotent by contract: with what it
        # wrote it would answer the same, so the next run finds it under that key too.
        for each in {key, self.cache.key(spec, code, arguments)} - {None}:
            self.cache.put(str(each), entry)

    def _spec(self, arguments: Json) -> ComponentSpec:
        algorithm = arguments.get("AlgorithmSpecification")
        uri = algorithm["TrainingImage"] if algorithm else arguments["AppSpecification"]["ImageUri"]
        return load_spec(self.root / "components" / component_of(uri))


def with_retries(
    policies: list[Json], attempt: Callable[[], Result], stop: threading.Event
) -> Result:
    """Call `attempt` until it succeeds or its error's retry policy is used up.

    Raises:
        JobError: the last error; at once when no policy names its kind.
        Stopped: `stop` was set between two attempts.
    """
    started, failures = time.monotonic(), 0
    while True:
        try:
            return attempt()
        except JobError as err:
            policy = next((p for p in policies if err.retry_type in p["ExceptionType"]), None)
            if policy is None or failures >= policy.get("MaxAttempts", failures + 1):
                raise
            pause_s = policy["IntervalSeconds"] * policy["BackoffRate"] ** failures
            expires_s = 60 * policy.get("ExpireAfterMin", float("inf"))
            if time.monotonic() - started + pause_s > expires_s:
                raise
            failures += 1
            if stop.wait(pause_s):
                raise Stopped from err


def _may_cache(node: Node) -> bool:
    """A definition may refuse the cache; this one looks at content, so it needs no consent."""
    return bool(node.body.get("CacheConfig", {}).get("Enabled", True))
