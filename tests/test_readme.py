"""What the READMEs say is true: targets, links, flags, parameters."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pipeline
from ci.problems import REPOSITORY, component_folders
from shared.component.spec import load_spec
from shared.pipeline.settings import Settings

FOLDERS = list(component_folders(REPOSITORY))
READMES = [
    REPOSITORY / "README.md",
    REPOSITORY / "shared/pipeline/README.md",
    *(folder / "README.md" for folder in FOLDERS),
]

# The pipeline starts jobs and registers the endpoint's image; what else serves is called.
PLATFORM_WAYS = {"lambda": "aws lambda invoke ", "service": "make "}

every_readme = pytest.mark.parametrize(
    "path", READMES, ids=lambda path: str(path.relative_to(REPOSITORY))
)
every_component = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_the_front_page_names_the_two_commands() -> None:
    assert {"run", "test"} <= _make_targets_named(READMES[0].read_text())


@every_readme
def test_every_make_target_named_exists(path: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert _make_targets_named(path.read_text()) <= targets


@every_readme
def test_every_relative_link_resolves(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@every_readme
def test_every_pipeline_parameter_named_exists(path: Path) -> None:
    graphs = (pipeline.build(Settings()), pipeline.build_search(Settings()))
    known = {parameter.name for graph in graphs for parameter in graph.parameters}
    assert set(re.findall(r"-p (\w+)=", path.read_text())) <= known


@every_component
def test_every_flag_a_component_is_called_with_exists(folder: Path) -> None:
    spec = load_spec(folder)
    flags = {port.flag for port in (*spec.inputs.values(), *spec.outputs.values())}
    text = (folder / "README.md").read_text().replace("\\\n", " ")
    calls = re.findall(rf"python -m components\.{spec.name} ([^\n#]*)", text)
    assert calls
    for call in calls:
        assert set(re.findall(r"--[\w-]+", call)) <= flags
        assert {p.flag for p in spec.outputs.values()} <= set(call.split()), "an output is missing"


@every_component
def test_a_component_is_explained_on_one_page(folder: Path) -> None:
    lines = (folder / "README.md").read_text().splitlines()
    assert len([line for line in lines if not line.startswith("|")]) <= 60  # tables aside
    assert lines[0] == f"# {folder.name}"
    platform = PLATFORM_WAYS.get(load_spec(folder).kind, "python pipeline.py ")
    for way in ("pytest components/", "python -m components.", "docker run ", platform):
        assert any(line.startswith(way) for line in lines), way


def _make_targets_named(text: str) -> set[str]:
    """Return targets in code: inline, or at the start of a line of a code block."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\s*(make [^\n]*)", text, re.MULTILINE)
    calls = (re.match(r"make ([a-z][a-z-]*)(?![\w=])", words) for words in code)
    return {call[1] for call in calls if call}
