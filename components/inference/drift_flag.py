"""Whether the endpoint's last window drifted, as the collector left it in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

_REFRESH_S = 1.0  # windows take minutes to fill


class DriftFlag:
    """Call it: True, False, or None before the first test."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._next = 0.0
        self._value: bool | None = None

    def __call__(self) -> bool | None:
        """Return the last verdict; reads the file at most once a second."""
        if (now := self._clock()) >= self._next:
            self._next = now + _REFRESH_S
            try:
                self._value = bool(json.loads(self._path.read_text())["is_drift"])
            except FileNotFoundError:
                self._value = None
            except (OSError, ValueError, KeyError):
                pass  # half of a verdict is none; the last one stands
        return self._value
