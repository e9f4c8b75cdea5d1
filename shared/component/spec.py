"""component.yaml as frozen dataclasses that check themselves.

The file is the single source of a component's ports: the command line, the help,
the README table, the SageMaker step and the contract tests derive from it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from shared.component.errors import SpecError, UsageError
from shared.component.port import ARTIFACT_TYPES, PARAMETER_TYPES, Port

Kind = Literal["processing", "training", "endpoint", "lambda", "service"]

KINDS: tuple[Kind, ...] = ("processing", "training", "endpoint", "lambda", "service")
_PORT_KEYS = {
    "type",
    "description",
    "default",
    "minimum",
    "maximum",
    "enum",
    "optional",
    "format",
}
_COMPONENT_KEYS = {
    "name",
    "description",
    "kind",
    "inputs",
    "outputs",
    "metrics",
    "resources",
    "implementation",
}


@dataclass(frozen=True)
class Resources:
    """What a step asks of the platform. Units stand in the names."""

    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    volume_size_gb: int = 30
    max_runtime_s: int = 3600
    spot: bool = False


@dataclass(frozen=True)
class Container:
    """How the component becomes an image; `context` lists repository paths."""

    image: str
    command: tuple[str, ...]
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComponentSpec:
    """A component's declaration, read from its component.yaml."""

    name: str
    description: str
    kind: Kind
    container: Container
    inputs: Mapping[str, Port] = field(default_factory=dict)
    outputs: Mapping[str, Port] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)

    @property
    def is_serving(self) -> bool:
        """It runs until it is told to stop, and its parameters come from the environment."""
        return self.kind in ("endpoint", "lambda", "service")

    @property
    def parameters(self) -> dict[str, Port]:
        return {n: p for n, p in self.inputs.items() if not p.is_artifact}

    @property
    def artifacts(self) -> dict[str, Port]:
        """Artifact inputs by name."""
        return {n: p for n, p in self.inputs.items() if p.is_artifact}

    def input(self, name: str) -> Port:
        """Return an input port.

        Raises:
            SpecError: there is none; the message names the nearest.
        """
        return _find(self.inputs, name, f"component '{self.name}' has no input")

    def output(self, name: str) -> Port:
        """Return an output port.

        Raises:
            SpecError: there is none; the message names the nearest.
        """
        return _find(self.outputs, name, f"component '{self.name}' has no output")


def load_spec(folder: Path) -> ComponentSpec:
    """Read and check `folder/component.yaml`.

    Raises:
        SpecError: the file is missing, is no YAML, or declares something impossible.
    """
    path = folder / "component.yaml"
    try:
        document = yaml.load(path.read_text(), Loader=_LOADER)  # noqa: S506 - a safe loader
    except FileNotFoundError as err:
        raise SpecError(f"{path} is missing; every component folder has one") from err
    except yaml.YAMLError as err:
        raise SpecError(f"{path} is no YAML: {err}") from err
    if not isinstance(document, dict):
        raise SpecError(f"{path} holds no mapping")
    spec = _read_component(document, path)
    if spec.name != folder.name:
        raise SpecError(f"{path}: name is '{spec.name}', the folder is '{folder.name}'")
    return spec


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is 8 times faster


def _read_component(document: dict[str, Any], path: Path) -> ComponentSpec:
    _refuse_unknown(document, _COMPONENT_KEYS, str(path))
    try:
        kind, container = document["kind"], document["implementation"]["container"]
        name, description = document["name"], document["description"]
    except KeyError as err:
        raise SpecError(f"{path}: {err} is missing") from err
    if kind not in KINDS:
        raise SpecError(f"{path}: kind is {kind!r}; choose one of {', '.join(KINDS)}")
    inputs = _read_ports(document.get("inputs") or {}, f"{path}: inputs")
    outputs = _read_ports(document.get("outputs") or {}, f"{path}: outputs")
    _check_ports(inputs, outputs, path)
    return ComponentSpec(
        name=name,
        description=description,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        metrics=_read_metrics(document.get("metrics") or {}, path),
        resources=_build(Resources, document.get("resources") or {}, f"{path}: resources"),
        container=Container(
            image=container["image"],
            command=tuple(container["command"]),
            context=tuple(container.get("context", ())),
        ),
    )


def _read_ports(ports: dict[str, Any], where: str) -> dict[str, Port]:
    return {name: _read_port(name, body, where) for name, body in ports.items()}


def _read_port(name: str, body: dict[str, Any], where: str) -> Port:
    where = f"{where}.{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(f"{where}: a port's name is lower-case with underscores")
    _refuse_unknown(body, _PORT_KEYS, where)
    if body.get("type") not in (*ARTIFACT_TYPES, *PARAMETER_TYPES):
        known = ", ".join((*ARTIFACT_TYPES, *PARAMETER_TYPES))
        raise SpecError(f"{where}: type is {body.get('type')!r}; choose one of {known}")
    if not body.get("description"):
        raise SpecError(f"{where}: description is missing")
    port = Port(
        name=name,
        type=body["type"],
        description=body["description"],
        default=body.get("default"),
        minimum=body.get("minimum"),
        maximum=body.get("maximum"),
        enum=tuple(body.get("enum", ())),
        is_optional=bool(body.get("optional", False)),
        format=body.get("format"),
    )
    if port.default is not None:
        if port.is_artifact:
            raise SpecError(f"{where}: an artifact has no default")
        try:
            port.parse(port.default, where)
        except UsageError as err:
            raise SpecError(f"default contradicts the declaration: {err}") from err
    return port


def _check_ports(inputs: dict[str, Port], outputs: dict[str, Port], path: Path) -> None:
    if both := inputs.keys() & outputs.keys():
        raise SpecError(f"{path}: {', '.join(sorted(both))} is both input and output")
    for port in outputs.values():
        if not port.is_artifact:
            raise SpecError(f"{path}: output '{port.name}' is no artifact")


def _read_metrics(metrics: dict[str, str], path: Path) -> dict[str, str]:
    for name, pattern in metrics.items():
        if re.compile(pattern).groups != 1:
            raise SpecError(f"{path}: metric '{name}' needs one group: {pattern}")
    return metrics


def _build(cls: type[Resources], body: dict[str, Any], where: str) -> Resources:
    _refuse_unknown(body, set(cls.__dataclass_fields__), where)
    return cls(**body)


def _refuse_unknown(body: dict[str, Any], known: set[str], where: str) -> None:
    for key in body:
        if key not in known:
            raise SpecError(f"{where}: unknown key '{key}'{_nearest(key, known)}")


def _find(ports: Mapping[str, Port], name: str, message: str) -> Port:
    if name not in ports:
        raise SpecError(f"{message} '{name}'{_nearest(name, ports)}")
    return ports[name]


def _nearest(name: str, known: Any) -> str:
    match = difflib.get_close_matches(name, list(known), n=1)
    listed = f"; it has {', '.join(sorted(known))}" if known else ""
    return f"; did you mean '{match[0]}'?" if match else listed
