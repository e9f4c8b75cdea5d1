"""What a check finds, and where it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Problem:
    """One broken rule: where, what, and what to do about it."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def component_folders(root: Path) -> Iterator[Path]:
    """Yield every folder below components/ that holds anything of ours, in order."""
    for folder in sorted((root / "components").iterdir()):
        # A branch that lacks a component leaves its ignored __pycache__ behind.
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} - {"__pycache__"}:
            yield folder
