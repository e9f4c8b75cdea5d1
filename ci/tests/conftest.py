"""A small house of one component, for commands that look at all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

SHEEP = """\
name: sheep
description: Count sheep.
kind: processing
outputs:
  tally: {type: Report, description: "How many."}
implementation:
  container:
    image: sheep
    command: [python, -m, components.sheep]
    context: [shared/component, containers/install]
"""
FILES = {
    "components/sheep/component.yaml": SHEEP,
    "components/sheep/Dockerfile": (
        "ARG BASE_IMAGE=python:3.11-slim-bookworm\nFROM ${BASE_IMAGE}\n"
        'ENTRYPOINT ["python", "-m", "components.sheep"]\n'
    ),
    "components/sheep/component.py": "SHEEP = 1\n",
    "components/sheep/README.md": "# sheep\n",
    "components/sheep/tests/test_sheep.py": "assert True\n",
    "components/sheep/.cache/junk": "junk",
    "components/goat/component.yaml": SHEEP.replace("sheep", "goat").replace(
        "shared/component,", "shared/component, shared/vision,"
    ),
    "components/goat/Dockerfile": "ARG BASE_IMAGE=python:3.11-slim-bookworm\nFROM ${BASE_IMAGE}\n",
    "components/goat/component.py": "GOAT = 1\n",
    "shared/component/spec.py": "# spec\n",
    "shared/vision/drift.py": "# drift\n",
    "containers/install": "#!/bin/sh\n",
    "pyproject.toml": '[project]\nname = "farm"\nversion = "1.2.3"\n',
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def farm(tmp_path: Path) -> Path:
    """A repository of two components: sheep, and goat, which also carries shared/vision."""
    root = tmp_path / "farm"
    write(root, FILES)
    (root / "containers/install").chmod(0o755)
    return root
