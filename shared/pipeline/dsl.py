"""Describe a pipeline: parameters, tasks made from component specs, one condition.

Everything is checked while the graph is built: a wrong port, type or constant fails
naming the component, the port and the nearest right name. `pipeline.py` is the reader's
example; `compiler.py` turns the graph into SageMaker's definition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.errors import SpecError, UsageError
from shared.component.port import ParameterValue, Port
from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.defaults import Defaults
from shared.pipeline.expressions import Comparison, Expression, JsonGet, Value
from shared.pipeline.graph import TRAININGS, Artifact, Condition, Parameter, Step, Task, Tuning
from shared.pipeline.nearest import nearest
from shared.pipeline.search_space import SearchSpace


@dataclass
class Pipeline:
    """The graph while it is built; `components` are the specs by name.

    defaults: of parameters, instead of component.yaml's.
    fixed_elsewhere: why a parameter that a person may look for is none here, by its name.
    """

    name: str
    components: Mapping[str, ComponentSpec]
    defaults: Defaults = field(default_factory=Defaults)
    fixed_elsewhere: dict[str, str] = field(default_factory=dict)
    parameters: list[Parameter] = field(default_factory=list)
    tasks: list[Task | Tuning] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    _likes: set[str] = field(default_factory=set)

    def parameter(
        self, name: str, like: str = "", default: ParameterValue | None = None, **port: Any
    ) -> Parameter:
        """Declare a pipeline parameter.

        like: `component.port` whose type, default, limits and description it shares;
            what is given beside it wins.
        """
        declared = vars(self._port(like)) if like else {"name": name}
        origin = ""
        if default is not None:
            port["default"] = default
        elif like in self.defaults.values:
            port["default"], origin = self.defaults.values[like], self.defaults.origin
        parameter = Parameter(name, Port(**(declared | port)), origin)
        if any(known.name == name for known in self.parameters):
            raise SpecError(f"pipeline: parameter '{name}' is declared twice")
        self.parameters.append(parameter)
        self._likes.add(like)
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
        for name in locations or {}:
            spec.output(name)
        machines = {"instance_type": instance_type, "instance_count": instance_count}
        name = component.title().replace("_", "")
        task = _task(name, spec, inputs, machines, locations or {})
        self.tasks.append(task)
        return task

    def tuning(
        self,
        component: str,
        space: SearchSpace,
        *,
        objective: Value,
        trials: Value,
        parallel: Value,
        random_seed: Value,
        bucket: str,
        instance_type: Value | None = None,
        instance_count: Value | None = None,
        **inputs: Value,
    ) -> Tuning:
        """Add a search over a training component; `inputs` are what all trials share.

        Raises:
            SpecError: as of `task`; an input is searched over and given; or the objective is no
                metric that the component logs.
        """
        spec = self._component(component)
        if spec.kind != "training":
            raise SpecError(f"{component}: a search is over a training component, not {spec.kind}")
        for name in inputs:
            if name in space.entries:
                raise SpecError(f"{component}: input '{name}' is given, and searched: {space.path}")
        metrics = objective.port.enum if isinstance(objective, Parameter) else (objective,)
        for metric in metrics:
            if metric not in spec.metrics:
                hint = nearest(str(metric), spec.metrics)
                raise SpecError(f"{component}: objective '{metric}' is no metric of it{hint}")
        machines = {"instance_type": instance_type, "instance_count": instance_count}
        task = _task("Search", spec, inputs, machines, searched=space.entries)
        prefix = f"{self.name}/{TRAININGS}"
        tuning = Tuning(task, space, objective, trials, parallel, random_seed, bucket, prefix)
        self.tasks.append(tuning)
        return tuning

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
    def trunk(self) -> list[Task | Tuning]:
        """The tasks that stand in no branch, in the order they were added."""
        forked = [step for fork in self.conditions for step in (*fork.then, *fork.otherwise)]
        return [task for task in self.tasks if not any(task is step for step in forked)]

    def refuse_unused_defaults(self) -> None:
        """Refuse defaults that no parameter has taken.

        Raises:
            SpecError: there is one.
        """
        taken = self._likes
        for name in self.defaults.values:
            if name not in taken:
                raise SpecError(
                    f"{self.defaults.path}: entry '{name}': no pipeline parameter has its default "
                    f"from there{nearest(name, taken)}"
                )

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


def _task(
    name: str,
    spec: ComponentSpec,
    inputs: Mapping[str, Value],
    machines: Mapping[str, Value | None],
    locations: Mapping[str, Value] | None = None,
    searched: Collection[str] = (),
) -> Task:
    """Return a task whose inputs were checked; `searched` ones get their value elsewhere."""
    for port_name, value in inputs.items():
        _check(spec, spec.input(port_name), value)
    for port in spec.inputs.values():
        if port.is_required and port.name not in inputs and port.name not in searched:
            raise SpecError(f"{spec.name}: input '{port.name}' ({port.type}) is not connected")
    return Task(
        name=name,
        spec=spec,
        artifacts={n: v for n, v in inputs.items() if isinstance(v, Artifact)},
        parameters={n: v for n, v in inputs.items() if not isinstance(v, Artifact)},
        locations=dict(locations or {}),
        instance_type=machines["instance_type"] or spec.resources.instance_type,
        instance_count=machines["instance_count"] or spec.resources.instance_count,
    )


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
