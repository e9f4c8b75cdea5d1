"""Rules of lock files: every version pinned and hashed, none at odds, no address of a registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ci.problems import Problem, component_folders

_CONSTRAINTS = Path("containers/constraints.txt")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^\s;\\]+)")
_ADDRESS = re.compile(r"://|(^|\s)(-i|-f|--index-url|--extra-index-url|--find-links)\b|\s@\s")


def check_locks(root: Path) -> Iterator[Problem]:
    """Yield what is wrong with the constraints and with the locks made under them."""
    constraints = root / _CONSTRAINTS
    yield from _check_lines(constraints, root, is_hashed=False)
    allowed = pins(constraints)
    locks = [root / "ci/requirements.txt", root / "ci/uv.txt"]
    locks += [root / "containers/torch/cuda.txt", root / "containers/torch/cpu.txt"]
    locks += [folder / "requirements.txt" for folder in component_folders(root)]
    for lock in locks:
        if not lock.is_file():
            continue  # the anatomy says so
        yield from _check_lines(lock, root, is_hashed=True)
        if lock.name == "uv.txt":  # it installs the others and is under no constraint
            continue
        for name, versions in pins(lock).items():
            if not {version.partition("+")[0] for version in versions} <= allowed.get(name, set()):
                message = f"{name} is at odds with {_CONSTRAINTS}; run make lock"
                yield Problem(lock.relative_to(root), message)
        yield from _check_direct(lock, root)


def _check_lines(path: Path, root: Path, *, is_hashed: bool) -> Iterator[Problem]:
    where = path.relative_to(root)
    for entry in _entries(path):
        if _ADDRESS.search(entry):
            yield Problem(where, f"names an address: {entry.split()[0]}; run make lock")
        elif not _PIN.match(entry):
            yield Problem(where, f"pins no version: {entry.split()[0]}; run make lock")
        elif is_hashed and "--hash=sha256:" not in entry:
            yield Problem(where, f"has no hash: {entry.split()[0]}; run make lock")


def _check_direct(lock: Path, root: Path) -> Iterator[Problem]:
    """See that what is asked for is locked, so that a forgotten `make lock` is found."""
    asked = lock.with_suffix(".in")
    names = pins(lock)
    for entry in _entries(asked) if asked.is_file() else ():
        name = normal(re.split(r"[\[=<>;~! ]", entry)[0])
        if name not in names:
            yield Problem(lock.relative_to(root), f"lacks {name} of {asked.name}; run make lock")


def _entries(path: Path) -> list[str]:
    """Return one line per requirement: continued lines joined, comments left out."""
    text = re.sub(r"(^|\s)#.*", "", path.read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if line.strip()]


def pins(path: Path) -> dict[str, set[str]]:
    """Return the versions of each project; markers may allow it more than one."""
    versions: dict[str, set[str]] = {}
    for entry in _entries(path):
        if pin := _PIN.match(entry):
            versions.setdefault(normal(pin["name"]), set()).add(pin["version"])
    return versions


def normal(name: str) -> str:
    """Return a project's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
