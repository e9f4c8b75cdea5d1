"""Which code made an artifact: a hash over the sources of this very process's image."""

from __future__ import annotations

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parents[2]  # the repository, or /opt/program in an image


def code_version(component: str) -> str:
    """Return 12 hex digits over the Python files of `shared/` and the component."""
    digest = hashlib.sha256()
    for folder in ("shared/component", "shared/vision", f"components/{component}"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            if "tests" not in path.parts:
                digest.update(str(path.relative_to(_ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]
