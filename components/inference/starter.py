"""What Java starts for its Python: multi-model-server's own script, tied to Java's life.

    python -m components.inference.starter SCRIPT [ARGUMENT ...]

The script loads the model and forks the workers, or forks a worker that loads it; it knows
nothing of the end of Java, and would outlive it.
"""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from components.inference.lifeline import end_with_java


def main(argv: Sequence[str]) -> None:
    """Run a script as `python SCRIPT ARGUMENT ...` would, and end with Java."""
    end_with_java()
    sys.argv = list(argv)
    runpy.run_path(argv[0], run_name="__main__")


def write_python(path: Path) -> None:
    """Write what Java takes for the program `python`: this Python, begun with `main`."""
    python, module = shlex.quote(sys.executable), "components.inference.starter"
    path.write_text(f'#!/bin/sh\nexec {python} -P -m {module} "$@"\n')
    path.chmod(0o700)


if __name__ == "__main__":
    main(sys.argv[1:])
