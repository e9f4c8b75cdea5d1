"""Walk a pipeline definition: what may run now, what never will, what runs in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from shared.component.errors import VisionloopError
from shared.pipeline.backends.cache import output_uris
from shared.pipeline.backends.launcher import Stopped
from shared.pipeline.backends.resolve import Scope, references
from shared.pipeline.errors import DefinitionError
from shared.pipeline.execution import Execution, StepRecord, timestamp

Json = dict[str, Any]
_TICK_S = 0.1
# Which ends of a step satisfy a dependency, by its trigger; "Completed" is the usual one.
_TRIGGERS = {
    "Completed": {"Succeeded"},
    "Failed": {"Failed"},
    "Stopped": {"Stopped"},
    "Any": {"Succeeded", "Failed", "Stopped"},
}


@dataclass(frozen=True)
class Node:
    """One step of the definition.

    needs: trigger by the step it waits for.
    branch: condition step and the outcome under which this step runs.
    """

    body: Json
    needs: dict[str, str]
    branch: tuple[str, bool] | None = None

    @property
    def name(self) -> str:
        return str(self.body["Name"])

    @property
    def type(self) -> str:
        return str(self.body["Type"])


# Does one step: node, its record to fill in, cores it may use -> what Describe answers.
StepRunner = Callable[[Node, StepRecord, int], Json]


@dataclass
class Interpreter:
    """Runs one execution of a definition.

    run_step: called in a worker thread; raises VisionloopError when the step fails.
    on_change: told after every tick, to show and to record.
    """

    definition: Json
    execution: Execution
    scope: Scope
    run_step: StepRunner
    on_change: Callable[[], None]
    stop: threading.Event
    cores: int
    _is_halted: bool = field(default=False, init=False)

    def run(self) -> None:
        """Run to the end; the outcome stands in `execution`."""
        nodes = nodes_of(self.definition)
        check_references(nodes)
        steps = self.execution.steps
        steps.update({node.name: StepRecord(node.name, node.type) for node in nodes})
        with ThreadPoolExecutor(max_workers=self.cores) as pool:
            try:
                self._loop(nodes, pool)
            except BaseException:
                self.stop.set()  # an error of ours must not leave jobs running
                raise
        self._conclude()

    def _loop(self, nodes: list[Node], pool: ThreadPoolExecutor) -> None:
        steps = self.execution.steps
        running: dict[Future[Json], Node] = {}
        while True:
            self._settle(nodes)
            ready = [] if self._is_ending else [n for n in nodes if self._is_ready(n)]
            ready = ready[: self.cores - len(running)]
            threads = max(1, self.cores // max(1, len(running) + len(ready)))
            for node in ready:
                self._begin(steps[node.name])
                running[pool.submit(self.run_step, node, steps[node.name], threads)] = node
            self.on_change()
            if not running:
                return
            done, _ = wait(running, timeout=_TICK_S, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(running.pop(future), future)

    @property
    def _is_ending(self) -> bool:
        return self._is_halted or self.stop.is_set()

    def _begin(self, record: StepRecord) -> None:
        record.status, record.start = "Executing", timestamp()

    def _finish(self, node: Node, future: Future[Json]) -> None:
        record = self.execution.steps[node.name]
        record.end = timestamp()
        try:
            properties = future.result()
        except Stopped:
            record.status = "Stopped"
        except (VisionloopError, OSError) as err:
            record.status, record.reason = "Failed", _reason(node, err)
            self._is_halted |= node.type == "Fail"
        else:
            self.scope.properties[node.name] = properties
            record.status = "Succeeded"
            record.outcome = str(properties.get("Outcome", ""))
            record.outputs = output_uris(properties)

    def _settle(self, nodes: list[Node]) -> None:
        """Mark what can never run: its branch was not taken, or a step before it failed."""
        changed = True
        while changed:
            changed = False
            for node in nodes:
                record = self.execution.steps[node.name]
                if record.status == "Waiting" and self._is_blocked(node):
                    record.status, changed = "NotExecuted", True

    def _is_ready(self, node: Node) -> bool:
        steps = self.execution.steps
        waits = any(not steps[name].has_ended for name in node.needs)
        if node.branch:
            waits |= not steps[node.branch[0]].has_ended
        return steps[node.name].status == "Waiting" and not waits

    def _is_blocked(self, node: Node) -> bool:
        steps = self.execution.steps
        for name, trigger in node.needs.items():
            if steps[name].has_ended and steps[name].status not in _TRIGGERS[trigger]:
                return True
        if node.branch and steps[node.branch[0]].has_ended:
            return steps[node.branch[0]].outcome != str(node.branch[1])
        return False

    def _conclude(self) -> None:
        steps = self.execution.steps.values()
        failed = [step for step in steps if step.status == "Failed"]
        for step in steps:
            if not step.has_ended:
                step.status = "NotExecuted"
        self.execution.end = timestamp()
        if failed:
            self.execution.status = "Failed"
            self.execution.reason = failed[0].reason
        else:
            self.execution.status = "Stopped" if self.stop.is_set() else "Succeeded"
        self.on_change()


def nodes_of(definition: Json) -> list[Node]:
    """Return every step, branches included, in the order of the definition."""
    return list(_nodes(definition["Steps"], None))


def _nodes(steps: list[Json], branch: tuple[str, bool] | None) -> Iterator[Node]:
    for body in steps:
        arguments = body.get("Arguments", {})
        if body["Type"] != "Condition":
            yield Node(body, _needs(body, arguments), branch)
            continue
        yield Node(body, _needs(body, arguments.get("Conditions", [])), branch)
        yield from _nodes(arguments.get("IfSteps", []), (body["Name"], True))
        yield from _nodes(arguments.get("ElseSteps", []), (body["Name"], False))


def _reason(node: Node, err: Exception) -> str:
    """Say in one line why a step failed; a full disk names no file by itself."""
    if isinstance(err, OSError):
        return f"{node.name}: {err.strerror or err}" + (f": {err.filename}" if err.filename else "")
    return str(err)


def _needs(body: Json, arguments: Any) -> dict[str, str]:
    needs = dict.fromkeys(references(arguments), "Completed")
    for entry in body.get("DependsOn", []):
        if isinstance(entry, str):
            needs[entry] = "Completed"
        else:
            needs[entry["Step"]] = entry.get("Trigger", "Completed")
    return needs


def check_references(nodes: list[Node]) -> None:
    """Refuse a definition that could never finish.

    Raises:
        DefinitionError: a name is used twice or is unknown, or steps wait for each other.
    """
    names = [node.name for node in nodes]
    for node in nodes:
        if names.count(node.name) > 1:
            raise DefinitionError(f"definition: two steps are named '{node.name}'")
        for name, trigger in node.needs.items():
            if name not in names:
                raise DefinitionError(f"definition: step '{node.name}' refers to unknown '{name}'")
            if trigger not in _TRIGGERS:
                raise DefinitionError(
                    f"definition: step '{node.name}': trigger '{trigger}' unknown"
                )
    waiting = {n.name: {*n.needs, *([n.branch[0]] if n.branch else [])} for n in nodes}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    if waiting:
        raise DefinitionError(f"definition: steps wait for each other: {', '.join(waiting)}")
