"""Report every request while they are few; of many a uniform sample, and exact counts.

A whole record costs its sender some 80 us and the collector half that, which is nothing
at ten requests a second and 5 % of the machine at a thousand. So each process sends at
most `per_s` whole records a second, and the fewer the more requests come, down to a
twentieth: where there are many the machine is busy and a minute's sample large all the
same. They are chosen at random with the share that last second's traffic allows. The rest
is counted by name (labels, formats, statuses, errors) in the front, which a worker tells
with a batch, and sent as one record a second. Distributions come from the sample, counts
from both.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol

from components.inference.records import Counts, TallyRecord
from components.inference.telemetry import RecordSender

_TELL_S = 1.0
_LEAST = 0.05  # of `per_s`


class Thinner:
    """Decides, request by request, which are reported whole: at most about `per_s` a second."""

    def __init__(
        self,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._per_s, self._clock, self._dice = per_s, clock, dice
        self._second = clock()
        self._in_second = 0
        self._allowed = per_s
        self._share = 1.0

    @staticmethod
    def share_of(per_s: float, rate: float) -> float:
        """Return the share of so many requests a second that is reported whole."""
        if rate <= per_s:
            return 1.0
        return per_s * max(_LEAST, (per_s / rate) ** 2) / rate

    def is_chosen(self) -> bool:
        """Tell whether the next request is to be reported whole; call once a request."""
        now = self._clock()
        if (passed := now - self._second) >= 1.0:
            rate = self._in_second / passed
            self._share = self.share_of(self._per_s, rate)
            self._allowed = self._share * rate if self._share < 1.0 else self._per_s
            self._second, self._in_second = now, 0
        self._in_second += 1
        if self._in_second <= self._allowed and self._share >= 1.0:
            return True
        return self._dice() < min(self._share, self._allowed / self._in_second)


class Alarm(Protocol):
    """Calls back once, after so many seconds, in this thread: `loop.call_later`."""

    def __call__(self, delay_s: float, callback: Callable[[], None], /) -> object: ...


class Tally:
    """Counts what is not reported whole and tells the counts once a second."""

    def __init__(self, sender: RecordSender, alarm: Alarm) -> None:
        self._sender, self._alarm = sender, alarm
        self._counts: Counts = {}

    def count(self, **names: str) -> None:
        """Count a request: dimension=name."""
        self.add({dimension: {name: 1} for dimension, name in names.items()})

    def add(self, counts: Counts) -> None:
        """Add what somebody has counted."""
        if counts and not self._counts:
            self._alarm(_TELL_S, self.tell)
        for dimension, names in counts.items():
            known = self._counts.setdefault(dimension, {})
            for name, number in names.items():
                known[name] = known.get(name, 0) + number

    def tell(self) -> None:
        """Send the counts; called by the alarm, and at the end."""
        if self._counts:
            counts, self._counts = self._counts, {}
            self._sender.send(TallyRecord(time.time(), counts))
