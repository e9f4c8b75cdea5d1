"""Give a worker's free memory back now and then.

A worker keeps what it frees (model_server.py says why), and where in its heap the next
tensor lies wanders: over hours it touches, and so keeps, all that ever was free. Once a
minute it returns what is free at that moment; the next batches take back what they need.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
_INTERVAL_S = 60.0


class HeapTrimmer:
    """Call it after a batch; it trims when a minute has passed.

    trim: returns free memory to the system; default: glibc's, where the C library is that.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        trim: Callable[[], object] | None = None,
    ) -> None:
        self._clock = clock
        self._trim = trim or _find_trim()
        self._next_s = clock() + _INTERVAL_S

    def __call__(self) -> None:
        if (now_s := self._clock()) >= self._next_s:
            self._next_s = now_s + _INTERVAL_S
            self._trim()


def _find_trim() -> Callable[[], object]:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:  # musl and macOS keep no such heap
        log.debug("no malloc_trim in this C library")
        return lambda: None
    return lambda: trim(0)
