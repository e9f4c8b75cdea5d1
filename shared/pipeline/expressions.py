"""Values that are known only while a pipeline runs, and conditions over them.

Each knows its expression in the pipeline definition, the words of SageMaker's own
schema: Get, Std:Join, Std:JsonGet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from shared.component.port import ParameterValue


@runtime_checkable
class Expression(Protocol):
    """A value of the running pipeline."""

    @property
    def expr(self) -> dict[str, Any]: ...


Value = ParameterValue | Expression


@dataclass(frozen=True)
class Property:
    """A field of what Describe answers for a step's job."""

    step: str
    path: str

    @property
    def expr(self) -> dict[str, Any]:
        return {"Get": f"Steps.{self.step}.{self.path}"}


@dataclass(frozen=True)
class ExecutionVariable:
    """A fact about the execution, for example `PipelineExecutionId`."""

    name: str

    @property
    def expr(self) -> dict[str, Any]:
        return {"Get": f"Execution.{self.name}"}


@dataclass(frozen=True)
class Join:
    """The values as text, joined; the way to turn a number into a string."""

    values: Sequence[Value]
    on: str = ""

    @property
    def expr(self) -> dict[str, Any]:
        return {"Std:Join": {"On": self.on, "Values": [render(v) for v in self.values]}}


@dataclass(frozen=True)
class JsonGet:
    """A number in a JSON file that a step wrote; `path` walks down by dots."""

    step: str
    output: str
    file: str
    path: str

    @property
    def property_file(self) -> str:
        """The name under which the step declares the file: evaluation.json, Evaluation."""
        stem = self.file.rpartition("/")[2].partition(".")[0]
        return stem.title().replace("_", "")

    @property
    def expr(self) -> dict[str, Any]:
        reference = {"Get": f"Steps.{self.step}.PropertyFiles.{self.property_file}"}
        return {"Std:JsonGet": {"PropertyFile": reference, "Path": self.path}}


@dataclass(frozen=True)
class Comparison:
    """One condition of a condition step; `type` is SageMaker's name for it."""

    type: str
    left: Value
    right: Value

    @property
    def expr(self) -> dict[str, Any]:
        left, right = render(self.left), render(self.right)
        return {"Type": self.type, "LeftValue": left, "RightValue": right}


def at_least(left: Value, right: Value) -> Comparison:
    return Comparison("GreaterThanOrEqualTo", left, right)


def at_most(left: Value, right: Value) -> Comparison:
    return Comparison("LessThanOrEqualTo", left, right)


def render(value: Any) -> Any:
    """Return plain JSON: every expression below `value` in its written form."""
    if isinstance(value, Expression):
        return value.expr
    if isinstance(value, dict):
        return {key: render(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item) for item in value]
    return value
