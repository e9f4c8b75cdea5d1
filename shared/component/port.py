"""One typed value or artifact: its type, limits, and how text becomes it.

Ports of components (spec.py) and what operators tune (operator.py) are both declared so.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from shared.component.errors import UsageError

ParameterValue = str | int | float | bool

ARTIFACT_TYPES = (
    "RawImages",
    "Annotations",
    "Dataset",
    "Model",
    "Detector",
    "Metrics",
    "Report",
    "Defaults",
)
PARAMETER_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
}


@dataclass(frozen=True)
class Port:
    """One typed input or output of a component.

    A capitalised type is an artifact (a directory), a lower-case one a parameter,
    which travels as a string. `format: uri` marks a string that names data outside
    the pipeline, so that a step cache looks at what it points to.
    """

    name: str
    type: str
    description: str
    default: ParameterValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[ParameterValue, ...] = ()
    is_optional: bool = False
    format: str | None = None

    @property
    def is_artifact(self) -> bool:
        return self.type in ARTIFACT_TYPES

    @property
    def is_required(self) -> bool:
        return self.default is None and not self.is_optional

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name of the environment variable that sets it where a component serves."""
        return "VISIONLOOP_" + self.name.upper()

    def parse(self, text: ParameterValue, owner: str) -> ParameterValue:
        """Turn what arrived as text into the declared type, within its limits.

        Raises:
            UsageError: the text is no such value or lies outside the limits.
        """
        value = _convert(text, self.type)
        if value is None:
            raise UsageError(
                f"{owner}: parameter '{self.name}' takes {_article(self.type)}, not {text!r}"
            )
        if self.enum and value not in self.enum:
            raise UsageError(
                f"{owner}: parameter '{self.name}' is {text!r}; choose one of "
                + ", ".join(map(str, self.enum))
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(value, owner)
        return value

    def _check_range(self, value: float, owner: str) -> None:
        if self.minimum is not None and value < self.minimum:
            raise UsageError(
                f"{owner}: parameter '{self.name}' is {value}; the least is {self.minimum}"
            )
        if self.maximum is not None and value > self.maximum:
            raise UsageError(
                f"{owner}: parameter '{self.name}' is {value}; the most is {self.maximum}"
            )


def _convert(text: ParameterValue, type_name: str) -> ParameterValue | None:
    """Return the value, or None where the text is none of that type."""
    if type_name == "string":
        return str(text)
    if type_name == "boolean":
        return {"true": True, "false": False}.get(str(text).lower())
    if type_name == "integer":
        return int(text) if _is_integral(text) else None
    return _finite(text)


def _finite(text: ParameterValue) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and not isinstance(text, bool) else None


def _is_integral(text: ParameterValue) -> bool:
    return not isinstance(text, bool) and bool(re.fullmatch(r"[+-]?\d+", str(text).strip()))


def _article(type_name: str) -> str:
    words = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
    return words.get(type_name, "a string")
