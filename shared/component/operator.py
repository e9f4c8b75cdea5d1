"""What operators tune while everything runs: declared once, read by whoever obeys it.

From this table come ci/stacks/parameters.yaml, the table in ci/stacks/README.md
(`python -m ci check --fix` writes both) and every reader's validation.

`read_operator` asks Parameter Store, or a file where there is no AWS, at every use, so that
a change counts at once. A bad value is reported and the last good one stays in force: the
store keeps the history of each parameter, so no reader has to remember anything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.component.errors import UsageError
from shared.component.port import ParameterValue, Port

log = logging.getLogger(__name__)
_OWNER = "operator"

OPERATOR_PARAMETERS: Mapping[str, Port] = {
    port.name: port
    for port in (
        Port(
            "Enable-Automatic-Training",
            "boolean",
            "Raw data sets and labels start training; false: they wait.",
            default=True,
        ),
        Port(
            "Automatic-Training-Poll-Frequency",
            "integer",
            "Minutes between two looks for untrained data that no event told of.",
            default=60,
            minimum=5,
            maximum=1440,
        ),
        Port(
            "Minimum-Untrained-Images",
            "integer",
            "Images with a new or corrected label that start a training run.",
            default=10,
            minimum=1,
            maximum=100_000,
        ),
        Port(
            "Minimum-F1-Score",
            "number",
            "Macro F1 on the frozen test set that a model of an automatic run must reach.",
            default=0.8,
            minimum=0,
            maximum=1,
        ),
        Port(
            "Minimum-Inference-Units",
            "integer",
            "Least number of instances of the real-time endpoint.",
            default=1,
            minimum=1,
            maximum=100,
        ),
        Port(
            "Minimum-Label-Detection-Confidence",
            "number",
            "Percent; images answered with less go to people.",
            default=70.0,
            minimum=0,
            maximum=100,
        ),
        Port(
            "Enable-Human-Review",
            "boolean",
            "Images go to people at all; false: nothing is queued, whatever the others say.",
            default=True,
        ),
        Port(
            "Enable-Automatic-Human-Sampling",
            "boolean",
            "An audit sample goes to people whatever its confidence; it never enters training.",
            default=True,
        ),
        Port(
            "Automatic-Human-Sampling-Frequency",
            "integer",
            "Least minutes between two audit samples of one worker; 0: no such limit.",
            default=0,
            minimum=0,
            maximum=1440,
        ),
        Port(
            "Human-Sampling-Interval",
            "integer",
            "Every so many-th prediction is an audit sample.",
            default=1000,
            minimum=1,
            maximum=1_000_000,
        ),
        Port(
            "Enable-Drift-Retraining",
            "boolean",
            "A drift alarm trains on what is untrained, however little; false: it only tells.",
            default=False,
        ),
    )
}


@dataclass(frozen=True)
class OperatorValues:
    """Every parameter's value in force, typed, and what is wrong with what was written.

    problems: one line each: what was refused, and what counts instead.
    """

    values: Mapping[str, ParameterValue]
    problems: tuple[str, ...] = ()

    def flag(self, name: str) -> bool:
        return bool(self.values[name])

    def number(self, name: str) -> float:
        return float(self.values[name])

    def integer(self, name: str) -> int:
        return int(self.values[name])


class History(Protocol):
    """Where parameters are kept: what was written to each, the newest first."""

    def names(self) -> set[str]:
        """Return the names of the parameters that were ever written."""
        ...

    def texts(self, name: str) -> Iterator[str]:
        """Yield what was written to a parameter, the newest first."""
        ...


class ParameterStore:
    """Parameters below a path of Systems Manager; `client` is boto3's for ssm.

    prefix: `/project/stage/operator`.
    """

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix.rstrip("/")
        self._latest: dict[str, str] = {}

    def names(self) -> set[str]:
        """Read all parameters at once; one call where nothing is wrong."""
        pages = self._client.get_paginator("get_parameters_by_path").paginate(Path=self._prefix)
        self._latest = {
            found["Name"].rpartition("/")[2]: found["Value"]
            for page in pages
            for found in page["Parameters"]
        }
        return set(self._latest)

    def texts(self, name: str) -> Iterator[str]:
        yield self._latest[name]
        pages = self._client.get_paginator("get_parameter_history").paginate(
            Name=f"{self._prefix}/{name}"
        )
        versions = [version for page in pages for version in page["Parameters"]]
        for version in sorted(versions, key=lambda v: int(v["Version"]), reverse=True):
            yield version["Value"]


def read_operator(history: History) -> OperatorValues:
    """Return every parameter's value in force; what is wrong is logged and returned.

    A parameter that was never written has its default. Names that are none of ours are
    reported, since they are most often misspelt.
    """
    written = history.names()
    values: dict[str, ParameterValue] = {}
    problems = [
        f"operator: there is no parameter {name}; it changes nothing, remove it"
        for name in sorted(written - OPERATOR_PARAMETERS.keys())
    ]
    for name, port in OPERATOR_PARAMETERS.items():
        texts = history.texts(name) if name in written else iter(())
        values[name], problem = _in_force(port, texts)
        problems += [problem] if problem else []
    for problem in problems:
        log.warning(problem)
    return OperatorValues(values, tuple(problems))


def _in_force(port: Port, texts: Iterator[str]) -> tuple[ParameterValue, str]:
    """Return the newest value that is one, and what is wrong with a newer one."""
    refused = ""
    for text in texts:
        try:
            value = port.parse(text, _OWNER)
        except UsageError as err:
            refused = refused or str(err)
            continue
        return value, f"{refused}; the last good value {value} stays in force" if refused else ""
    assert port.default is not None  # noqa: S101 - every entry of the table has one
    return port.default, f"{refused}; the default {port.default} counts" if refused else ""
