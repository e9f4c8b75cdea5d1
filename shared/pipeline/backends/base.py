"""What every backend offers; the command line knows nothing else of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from shared.component.port import ParameterValue
from shared.pipeline.execution import Execution
from shared.pipeline.registry import ModelRegistry

# Told about every change of a running execution, by the thread that follows it.
Watcher = Callable[[Execution], None]


class Backend(Protocol):
    """A place where a pipeline definition runs."""

    @property
    def registry(self) -> ModelRegistry: ...

    def upsert(self, name: str, definition: str) -> str:
        """Create or update the pipeline; return `created`, `updated` or `unchanged`."""
        ...

    def start(
        self, name: str, parameters: Mapping[str, ParameterValue], watch: Watcher
    ) -> Execution:
        """Start an execution of the pipeline as it was last upserted."""
        ...

    def wait(self, execution: Execution, watch: Watcher) -> Execution:
        """Follow an execution to its end."""
        ...

    def list(self, name: str) -> list[Execution]:
        """Return the pipeline's executions, the newest first."""
        ...

    def describe(self, name: str, execution_id: str) -> Execution:
        """Return one execution with its steps; an ARN or its last part names it."""
        ...
