"""What is made of the table of operator parameters: the stack `parameters` and its description.

shared/component/operator.py is the source; `python -m ci check` finds what is stale and
`--fix` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ci.problems import Problem
from shared.component.files import write_text
from shared.component.operator import OPERATOR_PARAMETERS
from shared.component.port import Port

STACK = Path("ci/stacks/parameters.yaml")
_README = Path("ci/stacks/README.md")
_OPEN, _CLOSE = "<!-- operator -->", "<!-- /operator -->"
# Parameter Store refuses at once what is no such value; limits are the reader's to check.
_PATTERNS = {
    "boolean": "true|false",
    "integer": "[0-9]{1,9}",
    "number": "[0-9]{1,9}([.][0-9]{1,9})?",
}
_HEAD = """\
# What operators tune, one SSM parameter each. Written by `python -m ci check --fix` from
# shared/component/operator.py. `ci deploy` hands in the values in force, so that an update of
# this stack changes none.
AWSTemplateFormatVersion: "2010-09-09"
Description: "visionloop: what operators tune"

Parameters:
  Project: {Type: String, Default: visionloop, AllowedPattern: "[a-z][a-z0-9-]{1,19}"}
  Stage: {Type: String, Default: dev, AllowedPattern: "[a-z][a-z0-9]{0,9}"}
"""


def template_parameter(name: str) -> str:
    """Return the template's parameter of an operator parameter: letters and digits only."""
    return name.replace("-", "")


def render_stack() -> str:
    """Return the template's text."""
    lines = [_HEAD.rstrip("\n")]
    for port in OPERATOR_PARAMETERS.values():
        pattern, default = _PATTERNS[port.type], _text(port)
        lines.append(
            f'  {template_parameter(port.name)}: {{Type: String, Default: "{default}", '
            f'AllowedPattern: "{pattern}"}}'
        )
    lines += ["", "Resources:"]
    for port in OPERATOR_PARAMETERS.values():
        lines += [
            f"  {template_parameter(port.name)}Entry:",
            "    Type: AWS::SSM::Parameter",
            "    Properties:",
            f'      Name: !Sub "/${{Project}}/${{Stage}}/operator/{port.name}"',
            "      Type: String",
            f"      Value: !Ref {template_parameter(port.name)}",
            f'      AllowedPattern: "^({_PATTERNS[port.type]})$"',
            f'      Description: "{port.description} {_range(port)}"',
        ]
    return "\n".join(lines) + "\n"


def render_table() -> str:
    """Return the table for people, Markdown."""
    rows = [
        f"| `{port.name}` | {port.type} | {_range(port)} | {_text(port)} | {port.description} |"
        for port in OPERATOR_PARAMETERS.values()
    ]
    head = ["| parameter | type | range | default | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def check_parameters(root: Path) -> Iterator[Problem]:
    """Yield what does not follow from the table of operator parameters."""
    for path, text in _wanted(root):
        if not path.is_file() or path.read_text() != text:
            yield Problem(path, "is stale; run python -m ci check --fix")


def fix_parameters(root: Path) -> None:
    """Write what follows from the table of operator parameters."""
    for path, text in _wanted(root):
        write_text(path, text)


def _wanted(root: Path) -> Iterator[tuple[Path, str]]:
    if not (root / STACK.parent).is_dir():
        return  # a house without stacks
    yield root / STACK, render_stack()
    readme = (root / _README).read_text()
    before, opening, rest = readme.partition(_OPEN)
    _, closing, after = rest.partition(_CLOSE)
    if opening and closing:
        yield root / _README, f"{before}{_OPEN}\n{render_table()}\n{_CLOSE}{after}"


def _text(port: Port) -> str:
    return str(port.default).lower() if port.type == "boolean" else str(port.default)


def _range(port: Port) -> str:
    if port.type == "boolean":
        return "true or false"
    return f"{port.minimum:g} to {port.maximum:,.0f}".replace(",", " ")
