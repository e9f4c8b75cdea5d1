"""Run a component as a process of its own in a folder, for benchmarks that repeat one step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ci.problems import REPOSITORY
from shared.component.errors import InputError


def run_component(place: Path, name: str, **flags: object) -> None:
    """Run components.<name> in `place` with these flags; its output goes to <name>.log there.

    Raises:
        InputError: it failed; the message names the log.
    """
    words = [
        word
        for flag, value in flags.items()
        for word in (f"--{flag.replace('_', '-')}", f"{value}")
    ]
    with (place / f"{name}.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", f"components.{name}", *words],
            cwd=place,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "SAGEMAKER_BASE_DIR": str(place / "opt-ml"),
            },
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        raise InputError(f"{name} failed; see {place / name}.log")
