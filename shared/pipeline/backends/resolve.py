"""Resolve what a pipeline definition leaves open: parameters, references, conditions.

Semantics are SageMaker's; AWS's own local executor is the oracle of the tests.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component.errors import UsageError
from shared.component.port import ParameterValue
from shared.pipeline.errors import DefinitionError
from shared.pipeline.nearest import nearest

Json = dict[str, Any]
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
# The element of a Describe answer's list that ['name'] means.
_LIST_KEYS = ("OutputName", "InputName", "ChannelName", "MetricName")


@dataclass
class Scope:
    """What expressions may refer to while an execution runs.

    properties: what Describe answers, by step.
    read_json: opens the JSON file at an S3 URI.
    files: where a property file is, as (output name, path), by step and file name.
    """

    parameters: Mapping[str, ParameterValue]
    execution: Mapping[str, str]
    read_json: Callable[[str], Any]
    files: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    properties: dict[str, Json] = field(default_factory=dict)

    def resolve(self, node: Any) -> Any:
        """Return `node` with every expression replaced by its value.

        Raises:
            DefinitionError: it refers to something that is not there.
        """
        if isinstance(node, list):
            return [self.resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if set(node) == {"Get"}:
            return self._get(node["Get"])
        if set(node) == {"Std:Join"}:
            body = node["Std:Join"]
            return body["On"].join(_text(self.resolve(value)) for value in body["Values"])
        if set(node) == {"Std:JsonGet"}:
            return self._json_get(node["Std:JsonGet"])
        return {key: self.resolve(value) for key, value in node.items()}

    def holds(self, condition: Json) -> bool:
        """Evaluate one condition of a condition step.

        Raises:
            DefinitionError: its values cannot be compared, or its type is unknown.
        """
        kind = condition["Type"]
        if kind == "Not":
            return not self.holds(condition["Condition"])
        if kind == "Or":
            return any(self.holds(each) for each in condition["Conditions"])
        if kind == "In":
            return self.resolve(condition["QueryValue"]) in self.resolve(condition["Values"])
        if kind not in _COMPARE:
            raise DefinitionError(f"definition: condition type '{kind}' is unknown")
        left = self.resolve(condition["LeftValue"])
        right = self.resolve(condition["RightValue"])
        if not _is_comparable(left, right):
            raise DefinitionError(f"definition: {kind} cannot compare {left!r} with {right!r}")
        return _COMPARE[kind](left, right)

    def _get(self, reference: str) -> Any:
        scope, _, rest = reference.partition(".")
        if scope == "Parameters":
            return _lookup(self.parameters, rest, reference)
        if scope == "Execution":
            return _lookup(self.execution, rest, reference)
        step, _, path = rest.partition(".")
        return walk(_lookup(self.properties, step, reference), path, reference)

    def _json_get(self, body: Json) -> Any:
        if "S3Uri" in body:
            uri = self.resolve(body["S3Uri"])
        else:
            step, name = property_file_of(body)
            output, file = _lookup(self.files, (step, name), f"{step}.{name}")
            path = f"ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri"
            uri = f"{self._get(f'Steps.{step}.{path}').rstrip('/')}/{file}"
        return walk(self.read_json(uri), body["Path"], uri)


def property_file_of(body: Json) -> tuple[str, str]:
    """Return step and name of the property file that a Std:JsonGet reads."""
    match = re.fullmatch(r"Steps\.(.+)\.PropertyFiles\.(.+)", body["PropertyFile"]["Get"])
    if not match:
        raise DefinitionError(f"definition: no property file: {body['PropertyFile']}")
    return match[1], match[2]


def walk(node: Any, path: str, where: str) -> Any:
    """Follow `a.b['c'][0]` down a document.

    Raises:
        DefinitionError: there is nothing at the path.
    """
    for name, key, index in re.findall(r"([^.\[\]]+)|\['([^']+)'\]|\[(\d+)\]", path):
        try:
            node = node[int(index)] if index else _child(node, key or name)
        except (KeyError, IndexError, TypeError) as err:
            raise DefinitionError(f"definition: nothing at '{path}' of {where}") from err
    return node


def references(node: Any) -> Iterator[str]:
    """Yield the steps that an argument refers to."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "Get" and isinstance(value, str) and value.startswith("Steps."):
                yield value.split(".")[1]
            else:
                yield from references(value)


def parameter_values(
    declared: list[Json], given: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """Return the value of every parameter of a definition, of its declared type.

    Raises:
        UsageError: unknown name, wrong type, none of the enumeration, or no value.
    """
    names = [parameter["Name"] for parameter in declared]
    for name in given:
        if name not in names:
            raise UsageError(f"pipeline: no parameter '{name}'{nearest(name, names)}")
    values: dict[str, ParameterValue] = {}
    for parameter in declared:
        name = parameter["Name"]
        value = given.get(name, parameter.get("DefaultValue"))
        if value is None:
            raise UsageError(f"pipeline: parameter '{name}' has no value; pass -p {name}=VALUE")
        values[name] = _typed(name, parameter["Type"], value)
        choices = parameter.get("EnumValues") or [values[name]]
        if values[name] not in choices:
            raise UsageError(f"pipeline: {name} is {value!r}; choose one of {', '.join(choices)}")
    return values


def read_json_file(path: Path, uri: str) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as err:
        raise DefinitionError(f"definition: nothing at {uri}: {path} is missing") from err
    except ValueError as err:
        raise DefinitionError(f"definition: {uri} is no JSON: {path}: {err}") from err


def _typed(name: str, kind: str, value: ParameterValue) -> ParameterValue:
    text = str(value).strip()
    if kind == "String":
        return str(value)
    if kind == "Boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "Integer" and re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if kind == "Float":
        try:
            if math.isfinite(number := float(text)):
                return number
        except ValueError:
            pass
    raise UsageError(f"pipeline: {name} is {value!r}; it takes {kind}")


def _child(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return next(item for item in _named(node, name))
    return node[name]


def _named(items: list[Json], name: str) -> list[Json]:
    found = [item for item in items for key in _LIST_KEYS if item.get(key) == name]
    if not found:
        raise KeyError(name)
    return found


def _lookup(mapping: Mapping[Any, Any], key: Any, reference: str) -> Any:
    if key not in mapping:
        raise DefinitionError(f"definition: {reference} refers to something that is not there")
    return mapping[key]


def _is_comparable(left: Any, right: Any) -> bool:
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return True
    return isinstance(left, str) and isinstance(right, str)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
