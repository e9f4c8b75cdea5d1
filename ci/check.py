"""python -m ci check: the house's rules; hadolint's too, where it is installed. Needs no network.

--fix rewrites what is generated: the port tables of the components' READMEs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci.diagram.command import PICTURE, check_diagram, picture
from ci.dockerfiles import check_dockerfile
from ci.hadolint import check_dockerfiles, find_hadolint
from ci.locks import check_locks
from ci.parameters import check_parameters, fix_parameters
from ci.pipeline_parameters import check_pipeline_parameters, fix_pipeline_parameters
from ci.port_tables import check_table, fix_table
from ci.problems import REPOSITORY, Problem, component_folders
from ci.stack_rules import check_stacks
from ci.templates import STACKS
from shared.component.errors import SpecError
from shared.component.files import write_text
from shared.component.spec import load_spec

# The anatomy of a component: architecture.md, section 1.
_ANATOMY = (
    "component.yaml",
    "Dockerfile",
    "requirements.in",
    "requirements.txt",
    "README.md",
    "__init__.py",
    "__main__.py",
    "component.py",
    "tests",
)


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Print every problem, one a line; return 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m ci check", description=__doc__)
    parser.add_argument("--fix", action="store_true", help="rewrite what is generated, then check")
    if parser.parse_args(argv).fix:
        for folder in component_folders(root):
            if not list(_check_anatomy(folder)):
                fix_table(folder / "README.md", load_spec(folder))
        fix_parameters(root)
        fix_pipeline_parameters(root)
        if (root / STACKS).is_dir():
            write_text(root / PICTURE, picture(root))
    problems = list(find_problems(root))
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def find_problems(root: Path) -> Iterator[Problem]:
    """Hold everything below `root` to the rules."""
    for folder in component_folders(root):
        for problem in _check_component(folder, root):
            yield Problem(problem.path.relative_to(root), problem.message)
    yield from check_locks(root)
    yield from check_parameters(root)
    yield from check_pipeline_parameters(root)
    yield from check_stacks(root)
    if (root / STACKS).is_dir():
        yield from check_diagram(root)
    if program := find_hadolint():
        yield from check_dockerfiles(root, program)


def _check_component(folder: Path, root: Path) -> Iterator[Problem]:
    incomplete = list(_check_anatomy(folder))
    yield from incomplete
    if incomplete:
        return
    try:
        spec = load_spec(folder)
    except SpecError as err:
        yield Problem(folder / "component.yaml", str(err))
        return
    for path in spec.container.context:
        if not (root / path).exists():
            yield Problem(folder / "component.yaml", f"context names {path}, which does not exist")
    yield from check_dockerfile(folder / "Dockerfile", spec)
    yield from check_table(folder / "README.md", spec)


def _check_anatomy(folder: Path) -> Iterator[Problem]:
    for name in _ANATOMY:
        if not (folder / name).exists():
            yield Problem(folder / name, "is missing; every component folder has it")
