"""A share of a number of images, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z_95 = 1.959963984540054  # of the normal distribution, two-sided


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many of so many; without any there is no share, and its interval is everything."""

    hits: int
    total: int

    @property
    def share(self) -> float | None:
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % score interval (Wilson 1927), without continuity correction."""
        if not self.total:
            return 0.0, 1.0
        share, square = self.hits / self.total, _Z_95**2
        middle = share + square / (2 * self.total)
        spread = _Z_95 * sqrt(share * (1 - share) / self.total + square / (4 * self.total**2))
        scale = 1 + square / self.total
        # None and all are exact, which rounding would not have.
        low = (middle - spread) / scale if self.hits else 0.0
        high = (middle + spread) / scale if self.hits < self.total else 1.0
        return low, high
