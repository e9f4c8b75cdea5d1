"""python -m ci tensorboard: the curves of all runs on this machine under names that say which.

A run is shown as PIPELINE/EXECUTION/STEP, and a search's as PIPELINE/EXECUTION/STEP/TRIAL,
from its first epoch on: links are kept to wherever its event files lie at the moment.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.pipeline.settings import Settings

_EVENTS = "events.out.tfevents*"
_LOOK_EVERY_S = 5.0
# Of the local backend's and SageMaker's paths: what tells no run from another.
_SAYS_NOTHING = {"tensorboard", "tensorboard-output", "ml", "output", "processing", "logs"}
_HOST = re.compile(r"algo-\d+")
_JOB = re.compile(r"([0-9a-f]{12})-(.+)")  # of the local backend: execution and step


def main(argv: Sequence[str]) -> int:
    """Serve TensorBoard on loopback until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m ci tensorboard", description=__doc__)
    parser.add_argument("--port", type=int, default=6006, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    home = Settings.from_environ().home
    links = home / "tensorboard"
    link(links, runs(home))
    command = ["--logdir", str(links), "--host", "127.0.0.1", "--port", str(arguments.port)]
    process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *command])
    try:
        while True:
            try:
                return process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                link(links, runs(home))
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        process.wait()


def runs(home: Path) -> dict[str, Path]:
    """Return the topmost folders with event files below the local backend's `home`, by name.

    A run that goes on writes below executions/; when it is done its files are moved to s3/.
    """
    found: dict[str, Path] = {}
    for root, skipped in ((home / "executions", 0), (home / "s3", 1)):  # s3: the bucket's name
        folders = {file.parent for file in root.rglob(_EVENTS)}
        for folder in folders:
            if not folders.intersection(folder.parents):
                found[_name(folder.relative_to(root).parts[skipped:])] = folder
    return found


def link(folder: Path, targets: dict[str, Path]) -> None:
    """Make `folder` hold these links and no others; what has not changed is not touched.

    targets: what each link leads to, by its path in `folder`; none lies below another.
    """
    for path in [path for path in folder.rglob("*") if path.is_symlink()]:
        if str(path.relative_to(folder)) not in targets:
            path.unlink()
    for name, target in targets.items():
        path = folder / name
        if path.is_symlink() and path.readlink() == target:
            continue
        if path.is_dir() and not path.is_symlink():  # was the parent of runs
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.symlink_to(target)
        aside.replace(path)


def _name(parts: Sequence[str]) -> str:
    words = [word for word in parts if word not in _SAYS_NOTHING and not _HOST.fullmatch(word)]
    return "/".join(_JOB.sub(r"\1/\2", word) for word in words)
