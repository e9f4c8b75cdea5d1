"""What hadolint, a linter of Dockerfiles, finds; where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.problems import Problem


def find_hadolint() -> str | None:
    """Return the program: of this environment, or of PATH."""
    beside = Path(sys.executable).parent / "hadolint"
    return str(beside) if beside.is_file() else shutil.which("hadolint")


def check_dockerfiles(root: Path, program: str) -> Iterator[Problem]:
    """Yield what hadolint says of every component's Dockerfile."""
    paths = sorted(root.glob("components/*/Dockerfile"))
    if not paths:
        return
    command = [program, "--no-color", "--format", "json", *map(str, paths)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    try:
        findings = json.loads(done.stdout)
    except ValueError:
        yield Problem(Path("components"), f"hadolint gave no answer: {done.stderr.strip()[:300]}")
        return
    for finding in findings:
        path = Path(finding["file"]).relative_to(root)
        yield Problem(path, f"line {finding['line']}: {finding['message']} ({finding['code']})")
