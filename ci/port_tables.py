"""The table of ports in a component's README, generated from its component.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ci.problems import Problem
from shared.component.files import write_text
from shared.component.port import Port
from shared.component.spec import ComponentSpec

_START, _END = "<!-- ports -->", "<!-- /ports -->"


def check_table(readme: Path, spec: ComponentSpec) -> Iterator[Problem]:
    """Yield a problem where the table is absent or tells something else."""
    text = readme.read_text()
    if not _has_markers(text):
        yield Problem(readme, f"has no line {_START} followed by a line {_END}")
    elif _with_table(text, spec) != text:
        yield Problem(readme, "its table of ports is out of date; run python -m ci check --fix")


def fix_table(readme: Path, spec: ComponentSpec) -> None:
    """Rewrite the table between the markers, where there are markers."""
    text = readme.read_text()
    if _has_markers(text) and (fixed := _with_table(text, spec)) != text:
        write_text(readme, fixed)


def table(spec: ComponentSpec) -> str:
    """Return the table as Markdown."""
    rows = [("name", "direction", "type", "default", "meaning"), ("---",) * 5]
    for direction, ports in (("input", spec.inputs), ("output", spec.outputs)):
        for port in ports.values():
            rows.append(
                (f"`{port.name}`", direction, _type(port), _default(port), port.description)
            )
    return "\n".join(_row(cells) for cells in rows)


def _has_markers(text: str) -> bool:
    return -1 < text.find(f"{_START}\n") < text.find(f"{_END}\n")


def _with_table(text: str, spec: ComponentSpec) -> str:
    before, _, rest = text.partition(f"{_START}\n")
    _, _, after = rest.partition(f"{_END}\n")
    return f"{before}{_START}\n{table(spec)}\n{_END}\n{after}"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(port: Port) -> str:
    """Return the type and what it is limited to."""
    if port.enum:
        return f"{port.type}: {', '.join(map(str, port.enum))}"
    least = f" from {port.minimum:g}" if port.minimum is not None else ""
    most = f" to {port.maximum:g}" if port.maximum is not None else ""
    return f"{port.type}{least}{most}"


def _default(port: Port) -> str:
    if port.default is None:
        return "optional" if port.is_optional else ""
    if port.default == "":
        return "empty"
    text = str(port.default).lower() if port.type == "boolean" else str(port.default)
    return f"`{text}`"
