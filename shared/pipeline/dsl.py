"""Describe a pipeline: parameters, tasks made from component specs, one condition.

Everything is checked while the graph is built: a wrong port, type or constant fails
naming the component, the port and the nearest right name. `pipeline.py` is the reader's
example; `compiler.py` turns the graph into SageMaker's definition.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.errors import SpecError, UsageError
from shared.component.port import ParameterValue, Port
from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.expressions import Comparison, Expression, JsonGet, Property, Value

# SageMaker's names of parameter types, and what they are in component.yaml.
TYPE_NAMES = {"string": "String", "integer": "Integer", "number": "Float", "boolean": "Boolean"}


@dataclass(frozen=True)
class Parameter:
    """A value chosen when an execution starts; `port` holds type, default and limits."""

    name: str
    port: Port

    @property
    def default(self) -> ParameterValue:
        if self.port.default is None:
            raise SpecError(f"pipeline parameter '{self.name}' has no default; give it one")
        return self.port.parse(self.port.default, "pipeline")

    @property
    def expr(self) -> dict[str, Any]:
        return {"Get": f"Parameters.{self.name}"}

    def parse(self, text: ParameterValue) -> ParameterValue:
        """Turn what a person typed into the declared type, within its limits.

        Raises:
            UsageError: the text is no such value or lies outside the limits.
        """
        try:
            return self.port.parse(text, "pipeline")
        except UsageError as err:
            raise UsageError(str(err).replace(f"'{self.port.name}'", f"'{self.name}'")) from err


@dataclass(frozen=True)
class Artifact:
    """What a task writes to one of its outputs; its expression is the S3 URI."""

    task: Task
    port: Port

    @property
    def uri(self) -> Property:
        if self.task.spec.kind == "training":
            return Property(self.task.name, "ModelArtifacts.S3ModelArtifacts")
        output = f"ProcessingOutputConfig.Outputs['{self.port.name}']"
        return Property(self.task.name, f"{output}.S3Output.S3Uri")

    @property
    def expr(self) -> dict[str, Any]:
        return self.uri.expr

    def json(self, file: str, path: str) -> JsonGet:
        """Return the number at `path` (by dots) of a JSON file in this artifact."""
        return JsonGet(self.task.name, self.port.name, file, path)


@dataclass(frozen=True)
class Task:
    """A component placed in a pipeline.

    locations: S3 URIs of outputs that have a fixed place instead of one per execution.
    """

    name: str
    spec: ComponentSpec
    artifacts: Mapping[str, Artifact]
    parameters: Mapping[str, Value]
    locations: Mapping[str, Value]
    instance_type: Value
    instance_count: Value

    def __getitem__(self, output: str) -> Artifact:
        return Artifact(self, self.spec.output(output))


@dataclass(frozen=True)
class RegisterModel:
    """SageMaker's own step that adds a version to a model package group."""

    name: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Fail:
    """Ends the execution as failed, with a message."""

    name: str
    message: Value


Step = Task | RegisterModel | Fail


@dataclass(frozen=True)
class Condition:
    """Where the pipeline forks; all comparisons must hold."""

    name: str
    comparisons: Sequence[Comparison]
    then: Sequence[Step]
    otherwise: Sequence[Step]


@dataclass
class Pipeline:
    """The graph while it is built; `components` are the specs by name."""

    name: str
    components: Mapping[str, ComponentSpec]
    parameters: list[Parameter] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)

    def parameter(
        self, name: str, like: str = "", default: ParameterValue | None = None, **port: Any
    ) -> Parameter:
        """Declare a pipeline parameter.

        like: `component.port` whose type, default, limits and description it shares;
            what is given beside it wins.
        """
        declared = vars(self._port(like)) if like else {"name": name}
        if default is not None:
            port["default"] = default
        parameter = Parameter(name, Port(**(declared | port)))
        if any(known.name == name for known in self.parameters):
            raise SpecError(f"pipeline: parameter '{name}' is declared twice")
        self.parameters.append(parameter)
        return parameter

    def __getitem__(self, name: str) -> Parameter:
        """Return a declared parameter.

        Raises:
            SpecError: there is none of that name; the message names the nearest.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if name not in known:
            raise SpecError(f"pipeline: no parameter '{name}'{nearest(name, known)}")
        return known[name]

    def task(
        self,
        component: str,
        *,
        locations: Mapping[str, Value] | None = None,
        instance_type: Value | None = None,
        instance_count: Value | None = None,
        **inputs: Value,
    ) -> Task:
        """Add a task; it runs in every execution, unless a condition takes it as a branch.

        Raises:
            SpecError: no such component or port, a wrong type, or an input is missing.
        """
        spec = self._component(component)
        for name, value in inputs.items():
            _check(spec, spec.input(name), value)
        for port in spec.inputs.values():
            if port.is_required and port.name not in inputs:
                raise SpecError(f"{component}: input '{port.name}' ({port.type}) is not connected")
        for name in locations or {}:
            spec.output(name)
        task = Task(
            name=component.title().replace("_", ""),
            spec=spec,
            artifacts={n: v for n, v in inputs.items() if isinstance(v, Artifact)},
            parameters={n: v for n, v in inputs.items() if not isinstance(v, Artifact)},
            locations=dict(locations or {}),
            instance_type=instance_type or spec.resources.instance_type,
            instance_count=instance_count or spec.resources.instance_count,
        )
        self.tasks.append(task)
        return task

    def condition(
        self,
        name: str,
        comparisons: Sequence[Comparison],
        *,
        then: Sequence[Step],
        otherwise: Sequence[Step],
    ) -> None:
        self.conditions.append(Condition(name, comparisons, then, otherwise))

    @property
    def trunk(self) -> list[Task]:
        """The tasks that stand in no branch, in the order they were added."""
        forked = [step for fork in self.conditions for step in (*fork.then, *fork.otherwise)]
        return [task for task in self.tasks if not any(task is step for step in forked)]

    def json_reads(self) -> list[JsonGet]:
        """Return what the conditions read out of steps' files."""
        values = (
            v for fork in self.conditions for c in fork.comparisons for v in (c.left, c.right)
        )
        return [value for value in values if isinstance(value, JsonGet)]

    def _component(self, name: str) -> ComponentSpec:
        if name not in self.components:
            raise SpecError(f"pipeline: no component '{name}'{nearest(name, self.components)}")
        return self.components[name]

    def _port(self, path: str) -> Port:
        component, _, port = path.partition(".")
        return self._component(component).input(port)


def load_components(folder: Path) -> dict[str, ComponentSpec]:
    """Read every `<folder>/<name>/component.yaml`.

    Raises:
        SpecError: there is none, or one is wrong.
    """
    specs = {f.parent.name: load_spec(f.parent) for f in sorted(folder.glob("*/component.yaml"))}
    if not specs:
        raise SpecError(f"pipeline: no component in {folder}; each has a component.yaml")
    return specs


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint that ends a message about an unknown name."""
    names = sorted(known)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else f"; there are {', '.join(names)}"


def _check(spec: ComponentSpec, port: Port, value: Value) -> None:
    """Refuse a value of another type than the port's."""
    where = f"{spec.name}: input '{port.name}'"
    if isinstance(value, Artifact):
        if value.port.type != port.type:
            raise SpecError(
                f"{where} takes {port.type}, not {value.port.type} from "
                f"'{value.task.spec.name}.{value.port.name}'{_fitting(value.task.spec, port.type)}"
            )
    elif port.is_artifact:
        raise SpecError(f"{where} takes the artifact {port.type}, not {value!r}")
    elif isinstance(value, Parameter):
        if port.type not in (value.port.type, "string"):
            raise SpecError(
                f"{where} takes {port.type}, pipeline parameter '{value.name}' is {value.port.type}"
            )
    elif not isinstance(value, Expression):
        try:
            port.parse(value, spec.name)
        except UsageError as err:
            raise SpecError(str(err)) from err


def _fitting(spec: ComponentSpec, type_name: str) -> str:
    names = [port.name for port in spec.outputs.values() if port.type == type_name]
    return f"; did you mean '{spec.name}.{names[0]}'?" if names else ""
