"""How often somebody may ask: a moving minute a visitor, in this process's memory."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from components.web.errors import TooMany

_TRUSTED_TIMES = 10  # an operator uploads data sets, a request a file


class Rate:
    """A limit of requests a minute for each visitor; operators have ten times as many."""

    def __init__(self, per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(per_minute)
        self._trusted = RateLimitItemPerMinute(_TRUSTED_TIMES * per_minute)

    def check(self, who: str, is_trusted: bool = False) -> None:
        """Count a request.

        Raises:
            TooMany: it is one too many.
        """
        limit = self._trusted if is_trusted else self._limit
        if self._limiter.hit(limit, who):
            return
        free_s = self._limiter.get_window_stats(limit, who).reset_time - time.time()
        wait_s = max(1, math.ceil(free_s))
        raise TooMany(f"too many requests; try again in {wait_s} s", wait_s)
