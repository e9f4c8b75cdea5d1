"""A uniform sample of feature rows that survives the process.

Saved at most every few seconds, whole or not at all, and taken up again by the next
process, unless the detector it was collected for is another.
"""

from __future__ import annotations

import logging
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.component.files import atomic

log = logging.getLogger(__name__)
_SAVE_S = 5.0


class Reservoir:
    """At most `size` of all rows added since it was last emptied (algorithm R).

    width: numbers in a row; owner: what the rows belong to, told apart when restored.
    """

    def __init__(
        self, path: Path, size: int, width: int, owner: str, dice: random.Random | None = None
    ) -> None:
        self._path = path
        self._rows = np.zeros((size, width), np.float32)
        self._owner = owner
        self._dice = dice or random.Random()  # noqa: S311 - a sample, not a secret
        self._is_saved = True
        self._next_save_s = 0.0
        self.seen = 0
        self._restore()

    def add(self, read: Callable[[], npt.ArrayLike]) -> None:
        """Take a row into the sample, or not; it is read only when it is taken."""
        place = self.seen
        if place >= len(self._rows):
            place = int(self._dice.random() * (self.seen + 1))
        if place < len(self._rows):
            self._rows[place] = read()
        self.seen += 1
        self._is_saved = False

    def rows(self) -> npt.NDArray[np.float32]:
        """Return the sample, float32 [n, width]."""
        return self._rows[: self.seen].copy()

    def empty(self) -> None:
        """Begin the next sample."""
        self.seen = 0
        self._is_saved = False

    def save(self, now_s: float, is_urgent: bool = False) -> None:
        """Write the sample if it changed, and not too often unless urgent.

        Raises:
            OSError: it cannot be written; it is tried again next time.
        """
        if self._is_saved or (now_s < self._next_save_s and not is_urgent):
            return
        self._next_save_s = now_s + _SAVE_S
        save_rows(self._path, self.rows(), self.seen, self._owner)
        self._is_saved = True

    def _restore(self) -> None:
        found = load_rows(self._path, self._owner)
        if found is None or found[0].shape[1:] != self._rows.shape[1:]:
            return
        rows, self.seen = found
        self._rows[: len(rows)] = rows[: len(self._rows)]


def save_rows(path: Path, rows: npt.NDArray[np.float32], seen: int, owner: str) -> None:
    """Write rows, how many were seen, and whose they are."""
    with atomic(path) as aside, aside.open("wb") as stream:
        np.savez(stream, rows=rows, seen=np.int64(seen), owner=np.str_(owner))


def load_rows(path: Path, owner: str) -> tuple[npt.NDArray[np.float32], int] | None:
    """Return what `save_rows` wrote for this owner, None when there is nothing usable."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if str(arrays["owner"]) != owner:
                return None
            rows, seen = arrays["rows"], int(arrays["seen"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as err:
        log.warning("drift: the saved window %s is unusable, starting anew: %s", path, err)
        return None
    is_sound = rows.ndim == 2 and rows.dtype == np.float32 and len(rows) <= seen
    return (rows, seen) if is_sound else None
