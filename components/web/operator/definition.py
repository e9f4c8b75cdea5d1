"""The pipeline's definition as SageMaker has it: its parameters and steps.

What is deployed counts, not what stands in this repository: an image of this component may
be older or newer than the pipeline it looks after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.web.errors import Away


@dataclass(frozen=True)
class Place:
    """Where a step stands; branch: of a condition, "" on the trunk."""

    name: str
    kind: str
    branch: str = ""


@dataclass(frozen=True)
class Definition:
    """A definition of version 2020-12-01."""

    body: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> Definition:
        """Read the JSON that DescribePipeline answers.

        Raises:
            Away: it is none.
        """
        try:
            body = json.loads(text)
            body["Steps"], body["Parameters"]
        except (ValueError, KeyError, TypeError) as err:
            raise Away(
                f"pipeline: its definition cannot be read: {err!r}; run pipeline.py --upsert"
            ) from err
        return cls(body)

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        """The declared parameters: Name, Type, DefaultValue, EnumValues."""
        return list(self.body["Parameters"])

    def places(self) -> list[Place]:
        """Return every step, in the order it is written, branches after their condition."""
        return list(_places(self.body["Steps"], ""))


def _branches(step: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    arguments = step.get("Arguments", {})
    if step.get("Type") == "Condition":
        for name in ("IfSteps", "ElseSteps"):
            yield name.removesuffix("Steps").lower(), arguments.get(name, [])


def _places(steps: list[Any], branch: str) -> Iterator[Place]:
    for step in steps:
        yield Place(step["Name"], step["Type"], branch)
        for name, inner in _branches(step):
            yield from _places(inner, name)
