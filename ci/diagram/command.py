"""python -m ci diagram: draw services and what triggers what, into ci/architecture.svg.

Read from ci/stacks/*.yaml and the pipeline's definition, so that it cannot be out of date:
`python -m ci check` fails when it is. --check only compares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pipeline
from ci.diagram.graph import PREFIX, Reader
from ci.diagram.steps import add_steps, register_by_step
from ci.diagram.svg import draw
from ci.problems import REPOSITORY, Problem
from ci.templates import load_templates
from shared.pipeline.compiler import document
from shared.pipeline.settings import Settings

PICTURE = Path("ci/architecture.svg")


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write the picture; with --check return 1 where it is another."""
    parser = argparse.ArgumentParser(
        prog="python -m ci diagram",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    if parser.parse_args(argv).check:
        problems = list(check_diagram(root))
        sys.stdout.writelines(f"{problem}\n" for problem in problems)
        return 1 if problems else 0
    (root / PICTURE).write_text(picture(root))
    sys.stdout.write(f"{PICTURE}\n")
    return 0


def check_diagram(root: Path) -> Iterator[Problem]:
    """Yield a problem where the picture is not what templates and pipeline give."""
    path = root / PICTURE
    if not path.exists() or path.read_text() != picture(root):
        yield Problem(PICTURE, "is not what ci/stacks and pipeline.py give; python -m ci diagram")


def picture(root: Path) -> str:
    """Return the picture as SVG."""
    settings = Settings(root=root)
    reader = Reader(load_templates(root))
    definition = document(pipeline.build(settings, PREFIX), settings)
    add_steps(reader.graph, definition, PREFIX)
    graph = reader.read()
    register_by_step(graph)
    return draw(graph)
