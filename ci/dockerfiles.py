"""Rules of a component's Dockerfile (style.md, number 13), held against its component.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.problems import Problem
from shared.component.spec import ComponentSpec

_MOST_LINES = 30
_INSTALL = "sh containers/install"  # hashes required


@dataclass(frozen=True)
class Instruction:
    """One Dockerfile instruction, its continued lines joined."""

    word: str
    rest: str


def check_dockerfile(path: Path, spec: ComponentSpec) -> Iterator[Problem]:
    """Yield what is wrong with a Dockerfile."""
    text = path.read_text()
    instructions = read_instructions(text)
    messages = (
        *_check_shape(text, spec),
        *_check_process(instructions, spec),
        *_check_copies(instructions, spec),
        *_check_requirements(instructions, spec),
    )
    yield from (Problem(path, message) for message in messages)


def read_instructions(text: str) -> list[Instruction]:
    """Return the instructions in order, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines())
    return [Instruction(word.upper(), rest) for word, rest in pairs]


def _check_shape(text: str, spec: ComponentSpec) -> Iterator[str]:
    lines = text.splitlines()
    if len(lines) > _MOST_LINES:
        yield f"has {len(lines)} lines, at most {_MOST_LINES} are allowed"
    image = spec.container.image
    command = f"# docker build -f components/{spec.name}/Dockerfile -t {image} ."
    if lines[:1] != [command]:
        yield f"the first line is not its build command: {command}"


def _check_process(instructions: list[Instruction], spec: ComponentSpec) -> Iterator[str]:
    last = {instruction.word: instruction.rest for instruction in instructions}
    if last.get("WORKDIR") != "/opt/program":
        yield "WORKDIR is not /opt/program (/opt/ml is mounted over)"
    user = last.get("USER", "root")
    if user == "${RUN_AS}":  # an argument, for a platform that insists on root
        user = dict(_arguments(instructions)).get("RUN_AS", "root")
    if user in ("root", "0"):
        yield "runs as root; end with ARG RUN_AS=1000 and USER ${RUN_AS}"
    entrypoint = json.dumps(spec.container.command)
    if last.get("ENTRYPOINT") != entrypoint:
        yield f"ENTRYPOINT is not component.yaml's command: {entrypoint}"


def _arguments(instructions: list[Instruction]) -> Iterator[tuple[str, str]]:
    for instruction in instructions:
        if instruction.word == "ARG":
            name, _, value = instruction.rest.partition("=")
            yield name, value


def _check_copies(instructions: list[Instruction], spec: ComponentSpec) -> Iterator[str]:
    """Hold what goes in against what the image's tag is a hash of."""
    expected = {*spec.container.context, f"components/{spec.name}"}
    copied = set()
    for instruction in instructions:
        if instruction.word not in ("COPY", "ADD"):
            continue
        source, *_, target = instruction.rest.split()
        if instruction.rest != f"{source} {source}" or instruction.word == "ADD":
            yield f"'{source}' goes to '{target}'; keep its place with COPY {source} {source}"
        copied.add(source)
    for source in sorted(copied - expected - {_requirements(spec)}):
        yield f"copies '{source}', which component.yaml's context does not list"
    for source in sorted(expected - copied):
        yield f"does not copy '{source}', which component.yaml's context lists"


def _check_requirements(instructions: list[Instruction], spec: ComponentSpec) -> Iterator[str]:
    installs = [
        number
        for number, instruction in enumerate(instructions)
        if instruction.word == "RUN" and f"{_INSTALL} {_requirements(spec)}" in instruction.rest
    ]
    if not installs:
        yield f"does not run {_INSTALL} {_requirements(spec)}"
        return
    for instruction in instructions[: installs[0]]:
        code = instruction.rest.split()[0]
        if instruction.word == "COPY" and not (
            code.startswith("containers/") or code.endswith(".txt")
        ):
            yield f"copies '{code}' before it installs; a changed line would install anew"


def _requirements(spec: ComponentSpec) -> str:
    return f"components/{spec.name}/requirements.txt"
