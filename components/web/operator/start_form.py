"""The form that starts a run: what the deployed pipeline takes, checked before it is sent.

Names, types, defaults and choices come from the definition that SageMaker has; what they
mean and their limits from pipeline_parameters.json, which `python -m ci check --fix` writes
from pipeline.py. A parameter the file does not know is offered all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from components.web.errors import BadInput
from components.web.operator.definition import Definition
from components.web.operator.records import Record
from shared.component.errors import UsageError
from shared.component.port import ParameterValue, Port

CHAMPION = "Champion"  # the parameter that names the approved model to compare with
_FILE = Path(__file__).with_name("pipeline_parameters.json")
_TYPES = {"String": "string", "Integer": "integer", "Float": "number", "Boolean": "boolean"}
_GROUPS = {
    "fetch_data": "Images",
    "train": "Training",
    "evaluate": "Gates: what a model has to reach",
}
_REST = "Everything else"
# What a run is told once: another champion may have come, and nobody approves by habit.
_NEVER_AGAIN = (CHAMPION, "ApprovalStatus")


class Field(Record):
    """One parameter; value: what the form begins with, as text; default: the pipeline's.

    source: whose the value is: pipeline, run (the newest), or champion.
    """

    name: str
    type: str
    description: str
    group: str
    value: str
    default: str
    source: str = "pipeline"
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


class StartForm(Record):
    """What POST /runs takes beside its token; run: whose parameters it begins with, or ""."""

    pipeline: str
    run: str = ""
    fields: list[Field]


@cache
def catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Return what is written of the parameters, by name."""
    entries: list[dict[str, Any]] = json.loads(_FILE.read_text())["parameters"]
    return {entry["name"]: entry for entry in entries}


def ports(definition: Definition) -> dict[str, Port]:
    """Return the parameters of a definition, with what the catalogue knows of them."""
    return {declared["Name"]: _port(declared) for declared in definition.parameters}


def form(
    pipeline: str,
    definition: Definition,
    champion: str,
    run: str = "",
    before: Mapping[str, str] | None = None,
) -> StartForm:
    """Return the form; champion: the newest approved model, "" while there is none.

    run, before: the newest run and its parameters. The form begins with them: a pipeline's
    default data are a sample, which has nothing to do with what its models learn.
    """
    begin = {name: text for name, text in (before or {}).items() if name not in _NEVER_AGAIN}
    begin |= {CHAMPION: champion} if champion else {}
    fields = [_field(port, begin.get(name)) for name, port in ports(definition).items()]
    order = [*_GROUPS.values(), _REST]
    return StartForm(
        pipeline=pipeline,
        run=run,
        fields=sorted(fields, key=lambda field: order.index(field.group)),
    )


def chosen(definition: Definition, given: Mapping[str, str], champion: str) -> dict[str, str]:
    """Return what StartPipelineExecution is told: what differs from the pipeline's defaults.

    Where nobody names a champion it is the newest approved model; an empty one means none.

    Raises:
        BadInput: unknown name, wrong type, outside the limits.
    """
    known = ports(definition)
    if unknown := sorted(given.keys() - known.keys()):
        raise BadInput(
            f"run: there is no parameter '{unknown[0]}'; there are {', '.join(sorted(known))}"
        )
    values = {CHAMPION: champion} if CHAMPION in known and champion else {}
    changed: dict[str, str] = {}
    for name, text in (values | dict(given)).items():
        port = known[name]
        try:
            value = port.parse(text.strip(), "run")
        except UsageError as err:
            raise BadInput(str(err)) from err
        if value != port.default:
            changed[name] = as_text(value)
    return changed


def as_text(value: ParameterValue) -> str:
    """Return a value as it travels."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _port(declared: Mapping[str, Any]) -> Port:
    written = catalogue().get(declared["Name"], {})
    kind = _TYPES.get(declared["Type"], "string")
    default = declared.get("DefaultValue", "")
    bare = Port(declared["Name"], kind, written.get("description", ""))
    try:
        typed: ParameterValue = bare.parse(default, "pipeline")
    except UsageError:  # a required number has no default
        typed = ""
    return Port(
        name=bare.name,
        type=kind,
        description=bare.description,
        default=typed,
        minimum=written.get("minimum"),
        maximum=written.get("maximum"),
        enum=tuple(declared.get("EnumValues", ())),
    )


def _is_default(port: Port, text: str) -> bool:
    """Tell whether a text means the default: 1e-3 and 0.001 are one number."""
    try:
        return port.parse(text, "run") == port.default
    except UsageError:  # the pipeline has changed since; whoever reads the form sees it
        return False


def _field(port: Port, begin: str | None) -> Field:
    """Return one parameter's line; begin: its value, None: the pipeline's default."""
    default = as_text(port.default if port.default is not None else "")
    value = default if begin is None or _is_default(port, begin) else begin
    source = "champion" if port.name == CHAMPION else "run"
    component = catalogue().get(port.name, {}).get("component", "")
    choices = ["true", "false"] if port.type == "boolean" else [as_text(e) for e in port.enum]
    return Field(
        name=port.name,
        type=port.type,
        description=port.description,
        group=_GROUPS.get(component, _REST),
        value=value,
        default=default,
        source="pipeline" if value == default else source,
        minimum=port.minimum,
        maximum=port.maximum,
        choices=choices,
    )
