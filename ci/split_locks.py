"""python -m ci split_locks [--wheels FOLDER]: fit the images' locks to either build of PyTorch.

`make lock` calls it. PyPI's torch on Linux needs CUDA's libraries, 3 GB; PyTorch's own CPU
index has the same release without. One lock serves both: CUDA's packages move to
containers/cuda.txt, which containers/install adds to PyPI's build alone, and torch admits the
hashes of containers/torch-cpu.txt besides PyPI's. Where torchvision is locked it does not:
its wheel on PyPI is linked to CUDA's build, and torch is asked for by `===`, which no CPU
build answers.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ci.problems import REPOSITORY, component_folders
from shared.component.errors import VisionloopError
from shared.component.files import sha256_of, write_text

CUDA = Path("containers/cuda.txt")
CPU = Path("containers/torch-cpu.txt")
_CUDA_NAMES = re.compile(r"(nvidia-|cuda-|triton=)")
_ENTRY = re.compile(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
_TORCH = re.compile(r"torch===?(?P<version>[^\s;+]+)")
_CUDA_HEAD = "# What PyPI's torch needs besides its own lock; containers/install adds it.\n"
_CPU_HEAD = (
    "# Wheels of PyTorch's CPU index that the images' locks admit (make lock WHEELS=FOLDER).\n"
)


class LockError(VisionloopError):
    """The locks and the recorded CPU wheels do not fit together."""


def main(argv: Sequence[str]) -> int:
    """Rewrite the locks of this checkout; report what was done on stderr."""
    parser = argparse.ArgumentParser(prog="python -m ci split_locks", description=__doc__)
    parser.add_argument("--wheels", type=Path, help="folder of CPU wheels to record, replaces all")
    arguments = parser.parse_args(argv)
    split(REPOSITORY, arguments.wheels)
    return 0


def split(root: Path, wheels: Path | None = None) -> None:
    """Fit all components' locks; a second time changes nothing.

    wheels: folder of CPU wheels that the locks shall admit instead of the recorded ones.
    Raises:
        LockError: the recorded wheels are of another version of torch than the locks.
    """
    if wheels is not None:
        _record(root / CPU, wheels)
    admitted = (root / CPU).read_text() if (root / CPU).is_file() else ""
    cuda: dict[str, str] = _named((root / CUDA).read_text()) if (root / CUDA).is_file() else {}
    found: dict[str, str] = {}
    for folder in component_folders(root):
        lock = folder / "requirements.txt"
        entries = _named(lock.read_text())
        found |= {name: text for name, text in entries.items() if _CUDA_NAMES.match(name)}
        kept = {name: text for name, text in entries.items() if not _CUDA_NAMES.match(name)}
        if torch := next((name for name in kept if _TORCH.match(name)), None):
            has_vision = any(name.startswith("torchvision=") for name in kept)
            kept[torch] = _exact(kept[torch]) if has_vision else _admit(kept[torch], admitted, lock)
        write_text(lock, "".join(kept.values()))
    if found or not cuda:
        write_text(root / CUDA, _CUDA_HEAD + "".join(found[name] for name in sorted(found)))


def _named(text: str) -> dict[str, str]:
    """Return each requirement with its hashes, by its `name==version`."""
    return {entry.split(maxsplit=1)[0]: entry for entry in _ENTRY.findall(text)}


def _exact(entry: str) -> str:
    return re.sub(r"^torch===?", "torch===", entry)


def _admit(entry: str, admitted: str, lock: Path) -> str:
    """Add the CPU wheels' hashes to torch's entry."""
    version = _TORCH.match(entry)["version"]  # type: ignore[index]  # the caller matched
    others = set(re.findall(r"^torch==([^\s+]+)", admitted, re.MULTILINE)) - {version}
    if others:
        raise LockError(
            f"{lock}: torch is {version}, the wheels of {CPU} are of {', '.join(sorted(others))}; "
            "run make lock WHEELS=FOLDER with CPU wheels of that version"
        )
    hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", entry + admitted)
    head = entry.partition("--hash")[0].rstrip(" \\\n")
    return head + "".join(f" \\\n    {one}" for one in sorted(set(hashes))) + "\n"


def _record(path: Path, wheels: Path) -> None:
    found = sorted(wheels.glob("torch-*+cpu-*.whl"))
    if not found:
        raise LockError(f"{wheels} holds no torch-*+cpu-*.whl; download them from the CPU index")
    lines = [
        f"torch=={wheel.name.split('-')[1]} --hash=sha256:{sha256_of(wheel)}  # {wheel.name}\n"
        for wheel in found
    ]
    write_text(path, _CPU_HEAD + "".join(lines))
    sys.stderr.write(f"{path.name}: {len(found)} wheels\n")
