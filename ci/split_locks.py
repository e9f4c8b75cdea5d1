"""python -m ci split_locks [--wheels FOLDER]: keep CUDA out of the images' locks.

`make lock` calls it. PyPI's torch on Linux needs CUDA's libraries, 5 GB; PyTorch's own CPU
index has the same release without. CUDA's packages move to containers/torch/cuda.txt, and
containers/torch/cpu.txt holds the CPU wheels; containers/install takes the one or the other.
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

CUDA = Path("containers/torch/cuda.txt")
CPU = Path("containers/torch/cpu.txt")
_CUDA_NAMES = re.compile(r"(nvidia-|cuda-|triton=)")
_ENTRY = re.compile(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
_TORCH = re.compile(r"torch==")
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
    """Split all components' locks; a second time changes nothing.

    wheels: folder of CPU wheels to record instead of those that are.
    Raises:
        LockError: the recorded wheels are of another version of torch than the locks.
    """
    if wheels is not None:
        _record(root / CPU, wheels)
    cuda = _named((root / CUDA).read_text()) if (root / CUDA).is_file() else {}
    found: dict[str, str] = {}
    for folder in component_folders(root):
        lock = folder / "requirements.txt"
        entries = _named(lock.read_text())
        _check_version(root, lock, entries)
        found |= {name: text for name, text in entries.items() if _CUDA_NAMES.match(name)}
        kept = {name: text for name, text in entries.items() if not _CUDA_NAMES.match(name)}
        if kept != entries:
            write_text(lock, "".join(kept.values()))
    if found or not cuda:
        write_text(root / CUDA, _CUDA_HEAD + "".join(found[name] for name in sorted(found)))


def _named(text: str) -> dict[str, str]:
    """Return each requirement with its hashes, by its `name==version`."""
    return {entry.split(maxsplit=1)[0]: entry for entry in _ENTRY.findall(text)}


def _check_version(root: Path, lock: Path, entries: dict[str, str]) -> None:
    """See that the CPU wheels are of the torch that is locked."""
    locked = {_version(name) for name in entries if _TORCH.match(name)}
    recorded = {_version(name) for name in _named((root / CPU).read_text())}
    if locked and locked != recorded:
        raise LockError(
            f"{lock}: torch is {', '.join(locked)}, the wheels of {CPU} are of "
            f"{', '.join(sorted(recorded))}; run make lock WHEELS=FOLDER with CPU wheels of that "
            "version"
        )


def _version(name: str) -> str:
    return name.partition("==")[2].partition("+")[0]


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
