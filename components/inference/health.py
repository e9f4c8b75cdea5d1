"""Whether a request would be answered now: what /ping may promise.

Every worker proves itself on the golden images before it counts as ready. After that two
things are asked: how many workers multi-model-server holds ready, and whether one has
really answered lately; where no client asked for anything, the front asks itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from components.inference.batcher import WorkerError
from components.inference.upstream import UpstreamError

# SageMaker gives a ping two seconds, and pings every five.
_PROBE_TIMEOUT_S = 1.5
_PROOF_LASTS_S = 4.0
_COUNT_LASTS_S = 0.2


class Health:
    """The state of one server.

    ready_workers: asks the model server; probe: sends a golden image, True when the answer
        is the expected one.
    """

    def __init__(
        self,
        ready_workers: Callable[[], Awaitable[int]],
        probe: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ready_workers = ready_workers
        self._probe = probe
        self._clock = clock
        self._proven_at = float("-inf")
        self._counted_at = float("-inf")
        self._ready = 0
        self.has_started = False

    def start(self) -> None:
        """Say that all workers are loaded and have proven themselves."""
        self.has_started = True
        self.note_answer()

    def stop(self) -> None:
        """Say that no further request will be answered."""
        self.has_started = False

    def note_answer(self) -> None:
        """A worker has answered just now."""
        self._proven_at = self._clock()

    async def is_healthy(self) -> bool:
        """Tell whether a worker can answer."""
        if not self.has_started or not await self._has_worker():
            return False
        if self._clock() - self._proven_at < _PROOF_LASTS_S:
            return True
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                is_right = await self._probe()
        except (TimeoutError, UpstreamError, WorkerError):
            # Busy is not ill: a client may have been answered meanwhile.
            return self._clock() - self._proven_at < _PROOF_LASTS_S
        if is_right:
            self.note_answer()
        return is_right

    async def _has_worker(self) -> bool:
        if self._clock() - self._counted_at >= _COUNT_LASTS_S:
            self._ready = await self._ready_workers()
            self._counted_at = self._clock()
        return self._ready > 0
