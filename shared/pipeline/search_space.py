"""A search space: one YAML file, checked against the ports of the component it searches.

    searched:
      optimizer: {choices: [adamw, sgd]}
      learning_rate: {low: 0.0001, high: 0.03, scale: log}
    options:                       # searched too where they are asked for by name
      batch_size: {choices: [16, 32]}

`compiler.py` makes SageMaker's ParameterRanges of it, and the local backend reads those: both
search the same space. SageMaker's tuner knows no space that depends on another choice, so
neither does this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.component.errors import SpecError, UsageError
from shared.component.port import ParameterValue, Port
from shared.component.spec import ComponentSpec
from shared.pipeline.nearest import nearest

DEFAULT_SPACE = Path("components/tune/space.yaml")
_SECTIONS = ("searched", "options")
_SCALES = ("linear", "log")
_CHOICE_KEYS, _RANGE_KEYS = {"choices"}, {"low", "high", "scale"}
_MOST_CHOICES = 30  # CategoricalParameterRange's Values, API reference of SageMaker
_MOST_ENTRIES = 30  # of each kind in ParameterRanges


@dataclass(frozen=True)
class Choices:
    """One of several values; strings, since that is what hyperparameters are."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `scale` is linear or log."""

    name: str
    low: float
    high: float
    scale: str
    is_integer: bool


@dataclass(frozen=True)
class SearchSpace:
    """What is searched over; `path` is for messages."""

    path: Path
    entries: Mapping[str, Choices | Range]

    def taken_from(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return why pipeline parameters (name to `component.port`) have no value: we search it.

        Raises:
            SpecError: an entry is no parameter, so that its result could not become a default.
        """
        names = {port.partition(".")[2]: name for name, port in parameters.items()}
        for entry in self.entries:
            if entry not in names:
                raise SpecError(
                    f"{self.path}: entry '{entry}': no pipeline parameter stands for it, so what "
                    "is found could not become a default; add one to PARAMETERS in pipeline.py"
                )
        reason = f"is searched over: take it out of {self.path}, or out of the command"
        return {names[entry]: reason for entry in self.entries}

    @property
    def choices(self) -> list[Choices]:
        return [entry for entry in self.entries.values() if isinstance(entry, Choices)]

    def ranges(self, is_integer: bool) -> list[Range]:
        found = (entry for entry in self.entries.values() if isinstance(entry, Range))
        return [entry for entry in found if entry.is_integer == is_integer]


@dataclass(frozen=True)
class Space:
    """Which space is meant: a file, by default the tune component's, and options of it."""

    file: Path | None = None
    also: tuple[str, ...] = ()

    def load(self, root: Path, spec: ComponentSpec) -> SearchSpace:
        """Read it; `root` is the repository. Raises what `load_space` does."""
        return load_space(self.file or root / DEFAULT_SPACE, spec, self.also)


def load_space(path: Path, spec: ComponentSpec, also: Sequence[str] = ()) -> SearchSpace:
    """Read a space for a component.

    also: names of the section `options` that are searched over too.

    Raises:
        SpecError: the file is missing, is no space, or an entry is none that the port takes.
        UsageError: `also` names what the file has no option for.
    """
    document = _read(path)
    options = _section(document, "options", path)
    for name in also:
        if name not in options:
            known = nearest(name, options) if options else "; it has none"
            raise UsageError(f"{path}: no option '{name}'{known}")
    chosen = _section(document, "searched", path) | {name: options[name] for name in also}
    unasked = {n: body for n, body in options.items() if n not in chosen}
    entries = {name: _entry(name, body, spec, path) for name, body in chosen.items()}
    for name, body in unasked.items():  # wrong today, whoever asks for it tomorrow
        _entry(name, body, spec, path)
    if not entries:
        raise SpecError(f"{path}: 'searched' is empty; name a port of {spec.name} and its values")
    if len(entries) > _MOST_ENTRIES:
        raise SpecError(f"{path}: {len(entries)} entries; SageMaker takes {_MOST_ENTRIES}")
    return SearchSpace(path, entries)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError as err:
        raise SpecError(f"{path} is missing; pass --space with a search space") from err
    except yaml.YAMLError as err:
        raise SpecError(f"{path} is no YAML: {err}") from err
    if not isinstance(document, dict):
        raise SpecError(f"{path} holds no mapping; it has the sections {', '.join(_SECTIONS)}")
    for key in document:
        if key not in _SECTIONS:
            raise SpecError(f"{path}: unknown section '{key}'{nearest(str(key), _SECTIONS)}")
    return document


def _section(document: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = document.get(name) or {}
    if not isinstance(section, dict):
        raise SpecError(f"{path}: '{name}' holds no mapping of port to values")
    return dict(section)


def _entry(name: str, body: Any, spec: ComponentSpec, path: Path) -> Choices | Range:
    where = f"{path}: entry '{name}'"
    if name not in spec.parameters:
        known = nearest(name, spec.parameters)
        raise SpecError(f"{where}: {spec.name} has no parameter of that name{known}")
    if not isinstance(body, dict):
        raise SpecError(f"{where}: give {{choices: [...]}} or {{low: ..., high: ..., scale: log}}")
    known_keys = _CHOICE_KEYS if "choices" in body else _RANGE_KEYS
    for key in body:
        if key not in known_keys:
            raise SpecError(f"{where}: unknown key '{key}'{nearest(str(key), known_keys)}")
    port = spec.parameters[name]
    if "choices" in body:
        return Choices(name, tuple(_choices(body["choices"], port, where)))
    return _range(body, port, where)


def _choices(values: Any, port: Port, where: str) -> Iterator[str]:
    if not isinstance(values, list) or len({str(v) for v in values}) != len(values):
        raise SpecError(f"{where}: 'choices' is a list of different values, not {values!r}")
    if not 2 <= len(values) <= _MOST_CHOICES:
        raise SpecError(
            f"{where}: {len(values)} choices; give from 2 to {_MOST_CHOICES}, or take the entry "
            "out and fix the value with -p"
        )
    for value in values:
        yield as_text(_parsed(value, port, where))


def _range(body: Mapping[str, Any], port: Port, where: str) -> Range:
    if port.type not in ("integer", "number"):
        raise SpecError(f"{where}: it takes {port.type}, which has no range; give 'choices'")
    for key in ("low", "high"):
        if key not in body:
            raise SpecError(f"{where}: '{key}' is missing; give both ends of the range")
    low, high = (float(_parsed(body[key], port, where)) for key in ("low", "high"))
    scale = body.get("scale", "linear")
    if scale not in _SCALES:
        raise SpecError(f"{where}: scale is {scale!r}; choose one of {', '.join(_SCALES)}")
    if low >= high:
        raise SpecError(f"{where}: low is {low:g} and high is {high:g}; low must be the lesser")
    if scale == "log" and low <= 0:
        raise SpecError(f"{where}: low is {low:g}; a logarithmic scale begins above 0")
    return Range(port.name, low, high, scale, port.type == "integer")


def _parsed(value: Any, port: Port, where: str) -> ParameterValue:
    try:
        return port.parse(value, where)
    except (UsageError, TypeError) as err:
        remedy = "correct the value; component.yaml has the limits"
        raise SpecError(f"{err}; {remedy}") from err


def as_text(value: ParameterValue) -> str:
    """Return a value as the string a hyperparameter is."""
    return str(value).lower() if isinstance(value, bool) else str(value)
