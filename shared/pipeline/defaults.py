"""defaults.yaml: parameter defaults that a search has found, and where they come from.

    defaults:
      train.learning_rate: 0.003        # component.port
    provenance: {study: ..., date: ..., dataset_fingerprint: ..., ...}

The tune component writes it; `python pipeline.py --adopt` puts it at the repository's root,
where its values replace component.yaml's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shared.component.errors import SpecError, UsageError
from shared.component.files import write_text
from shared.component.port import ParameterValue
from shared.component.spec import ComponentSpec
from shared.pipeline.nearest import nearest

FILE = "defaults.yaml"
_SECTIONS = ("defaults", "provenance")


@dataclass(frozen=True)
class Defaults:
    """values: by `component.port`; provenance: what the search says of itself."""

    values: Mapping[str, ParameterValue] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path(FILE)

    @property
    def origin(self) -> str:
        """Where a default comes from, in the words of --help."""
        study, date = (str(self.provenance.get(key, "")) for key in ("study", "date"))
        found = f", search {study} of {date[:10]}" if study and date else ""
        return f"{self.path.name}{found}"


def load_defaults(path: Path, components: Mapping[str, ComponentSpec]) -> Defaults:
    """Read the file; none, or an empty one, holds no defaults.

    Raises:
        SpecError: it is no such file, or an entry is none that its port takes.
    """
    if not path.exists():
        return Defaults(path=path)
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise SpecError(f"{path} is no YAML: {err}") from err
    if not isinstance(document, dict):
        raise SpecError(f"{path} holds no mapping; it has the sections {', '.join(_SECTIONS)}")
    for key in document:
        if key not in _SECTIONS:
            raise SpecError(f"{path}: unknown section '{key}'{nearest(str(key), _SECTIONS)}")
    values, provenance = (document.get(name) or {} for name in _SECTIONS)
    if not isinstance(values, dict) or not isinstance(provenance, dict):
        raise SpecError(f"{path}: '{' and '.join(_SECTIONS)}' are mappings; adopt a search anew")
    checked = {name: _value(str(name), text, components, path) for name, text in values.items()}
    return Defaults(checked, provenance, path)


def adopt(source: Path, target: Path, components: Mapping[str, ComponentSpec]) -> Defaults:
    """Check a file and put it, whole or not at all, where defaults come from.

    Raises:
        SpecError: it is missing, or is no such file.
    """
    if not source.is_file():
        raise SpecError(f"{source} is missing; give the defaults.yaml of a finished search")
    found = load_defaults(source, components)
    if not found.values:
        raise SpecError(f"{source} holds no defaults; give the defaults.yaml of a finished search")
    write_text(target, source.read_text())
    return found


def _value(
    name: str, value: Any, components: Mapping[str, ComponentSpec], path: Path
) -> ParameterValue:
    where = f"{path}: entry '{name}'"
    component, _, port_name = name.partition(".")
    if component not in components:
        known = nearest(component, components)
        raise SpecError(f"{where}: no component '{component}'{known}; write component.port")
    parameters = components[component].parameters
    if port_name not in parameters:
        known = nearest(port_name, parameters)
        raise SpecError(f"{where}: {component} has no parameter '{port_name}'{known}")
    if not isinstance(value, (str, int, float, bool)):
        raise SpecError(f"{where}: {value!r} is no value; give one string or number")
    try:
        return parameters[port_name].parse(value, where)
    except UsageError as err:
        raise SpecError(f"{err}; correct it, or remove the file") from err
