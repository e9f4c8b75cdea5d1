"""What the web pages know of the pipeline's parameters, written from pipeline.py.

The pages' image holds no pipeline.py: names, types and defaults it reads from the definition
that is deployed, and from this file what that does not say: what a parameter means, its
limits, and whose it is. `python -m ci check` finds what is stale and `--fix` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pipeline
from ci.problems import Problem
from shared.component.files import write_text
from shared.pipeline.graph import Parameter
from shared.pipeline.settings import Settings

FILE = Path("components/web/operator/pipeline_parameters.json")


def render_parameters() -> str:
    """Return the file's text."""
    parameters = pipeline.build(Settings()).parameters
    document = {
        "written_by": "python -m ci check --fix, from pipeline.py",
        "parameters": [_entry(parameter) for parameter in parameters],
    }
    return json.dumps(document, indent=2) + "\n"


def check_pipeline_parameters(root: Path) -> Iterator[Problem]:
    """Yield a problem where the file tells something else than pipeline.py."""
    path = root / FILE
    if not path.parent.is_dir():
        return  # a house without the pages
    if not path.is_file() or path.read_text() != render_parameters():
        yield Problem(FILE, "is stale; run python -m ci check --fix")


def fix_pipeline_parameters(root: Path) -> None:
    """Write the file anew."""
    if (root / FILE).parent.is_dir():
        write_text(root / FILE, render_parameters())


def _entry(parameter: Parameter) -> dict[str, Any]:
    port = parameter.port
    component = pipeline.PARAMETERS.get(parameter.name, "").partition(".")[0]
    known = {
        "component": component,
        "minimum": port.minimum,
        "maximum": port.maximum,
        "format": port.format,
    }
    return {
        "name": parameter.name,
        "description": port.description,
        **{name: value for name, value in known.items() if value not in (None, "")},
    }
