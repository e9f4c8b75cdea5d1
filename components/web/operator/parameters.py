"""What operators tune, from Parameter Store: values in force, and a change of one.

shared/component/operator.py is the table; what stands in no line of it is neither read nor
written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.web.errors import BadInput, Conflict, NotFound
from components.web.operator.asking import asking
from components.web.operator.records import Record
from shared.component.errors import UsageError
from shared.component.operator import OPERATOR_PARAMETERS, ParameterStore, read_operator
from shared.component.port import ParameterValue, Port

_WHERE = "Parameter Store"


class Parameter(Record):
    """One line of the table, with what counts now.

    value: in force, as text. written: the newest in the store, None: never written.
    problem: why the newest does not count. version: of the newest, 0: never written.
    changed_by: who may be known of the last change; the audit log knows better.
    """

    name: str
    type: str
    description: str
    default: str
    minimum: float | None = None
    maximum: float | None = None
    value: str
    written: str | None = None
    problem: str = ""
    version: int = 0
    changed: datetime | None = None
    changed_by: str = ""
    comment: str = ""


class Parameters(Record):
    """problems: names in the store that are none of ours."""

    path: str
    parameters: list[Parameter]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParameterSource:
    """client: boto3's for ssm. path: /project/stage/operator; "": there is no store."""

    client: Any
    path: str

    def list(self) -> Parameters:
        """Return every operator parameter.

        Raises:
            WebError: Parameter Store does not answer.
        """
        store = _Recorded(self._client(), self.path)
        with asking(_WHERE):
            operator = read_operator(store)
        return Parameters(
            path=self.path,
            parameters=[
                _parameter(port, operator.values[name], operator.problems, store.found.get(name))
                for name, port in OPERATOR_PARAMETERS.items()
            ],
            problems=[p for p in operator.problems if "there is no parameter" in p],
        )

    def get(self, name: str) -> Parameter:
        """Return one.

        Raises:
            WebError: the table has no such parameter, or the store does not answer.
        """
        _port(name)
        return next(each for each in self.list().parameters if each.name == name)

    def put(self, name: str, value: ParameterValue, seen: int | None = None) -> Parameter:
        """Write a value and return what was in force before.

        seen: version that the operator saw; None: whatever it is.

        Raises:
            WebError: unknown name, no such value, somebody was faster, or the store refuses.
        """
        port = _port(name)
        try:
            text = as_text(port.parse(value, "operator"))
        except UsageError as err:
            raise BadInput(str(err)) from err
        before = self.get(name)
        if seen is not None and seen != before.version:
            raise Conflict(f"parameters: {name} is {before.value} by now; look again")
        with asking(_WHERE):
            self._client().put_parameter(
                Name=f"{self.path.rstrip('/')}/{name}", Value=text, Type="String", Overwrite=True
            )
        return before

    def _client(self) -> Any:
        if not self.path:
            raise NotFound("parameters: no place is named; start the pages with --operator-path")
        return self.client


class _Recorded(ParameterStore):
    """A Parameter Store that remembers when each value was written."""

    def __init__(self, client: Any, path: str) -> None:
        super().__init__(client, path)
        self._ssm, self._path = client, path.rstrip("/")
        self.found: dict[str, Mapping[str, Any]] = {}

    def names(self) -> set[str]:
        pages = self._ssm.get_paginator("get_parameters_by_path").paginate(Path=self._path)
        self.found = {
            found["Name"].rpartition("/")[2]: found
            for page in pages
            for found in page["Parameters"]
        }
        self._latest = {name: found["Value"] for name, found in self.found.items()}
        return set(self.found)


def as_text(value: ParameterValue) -> str:
    """Return a value as the store keeps it: no exponent, true and false in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return str(value)


def _port(name: str) -> Port:
    port = OPERATOR_PARAMETERS.get(name)
    if port is None:
        raise NotFound(f"parameters: there is no operator parameter {name}")
    return port


def _parameter(
    port: Port,
    value: ParameterValue,
    problems: tuple[str, ...],
    found: Mapping[str, Any] | None,
) -> Parameter:
    problem = next((p for p in problems if f"'{port.name}'" in p), "")
    return Parameter(
        name=port.name,
        type=port.type,
        description=port.description,
        default=as_text(port.default) if port.default is not None else "",
        minimum=port.minimum,
        maximum=port.maximum,
        value=as_text(value),
        written=found["Value"] if found else None,
        problem=problem,
        version=int(found["Version"]) if found else 0,
        changed=found.get("LastModifiedDate") if found else None,
    )
