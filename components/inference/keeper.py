"""Decide in a worker, without locks, whether an image is kept for people to review.

Kept is an image the model is unsure of, and every n-th one whatever the model says. Of a
bad day only so many are asked for as a tenth of the day would use up: people see all of the
day rather than its first minutes, and the machine does not write what is refused later.
The bytes go to the spool folder, whole or not at all; the collector brings them on
(review.py). Nothing here raises: an image that could not be written has reasons and
no name, which the collector counts.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.inference.review_rules import ReviewRules
from shared.component.files import atomic
from shared.component.review_queue import LOW_CONFIDENCE, SAMPLED

_DAY_S = 86400.0
_BURST = 60.0  # images at once, from whoever has been quiet
_USED_UP_IN = 0.1  # of a day


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one image; these are fields of its ImageRecord.

    kept: file name in the spool folder, "" when it is not there.
    reasons: why it was to be kept, empty when it was not.
    """

    kept: str = ""
    sha256: str = ""
    reasons: tuple[str, ...] = ()


_NOT_KEPT = Kept()


class _Allowance:
    """A burst, which comes back at the rate that uses up a day's number in a tenth of a day."""

    def __init__(self, per_day: float, clock: Callable[[], float]) -> None:
        self._most = min(_BURST, per_day)
        self._per_s = per_day / (_USED_UP_IN * _DAY_S)
        self._clock = clock
        self._left, self._when = self._most, clock()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._when) * self._per_s)
        self._when = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Keeper:
    """One worker's share of the review queue.

    rules: returns the rules in force, which may change at any time. The count towards the
        next audit sample starts at a random phase, so that many short-lived workers together
        keep the right share.
    per_day: images, and as many audit samples: what measures a bad day must not be lost to
        it. The steady rate is ten times that.
    """

    def __init__(
        self,
        spool: Path,
        rules: Callable[[], ReviewRules] = ReviewRules,
        per_day: float = 1000.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._rules = rules
        self._clock = clock
        self._interval = 0
        self._until_sample = 0
        self._next_sample_s = 0.0
        self._unsure = _Allowance(per_day, clock)
        self._audit = _Allowance(per_day, clock)

    def consider(self, data: bytes, extension: str, confidence: float) -> Kept:
        """Keep an encoded image if there is a reason to.

        extension: of its format, lower case without a dot; confidence: in [0, 1].
        """
        reasons = self._reasons(confidence)
        if not reasons:
            return _NOT_KEPT
        allowance = self._audit if SAMPLED in reasons else self._unsure
        if not allowance.take():
            return _NOT_KEPT
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._spool / f"{sha256}.{extension}"
        try:
            if not path.exists():
                with atomic(path) as aside:
                    aside.write_bytes(data)
        except OSError:
            return Kept("", sha256, reasons)
        return Kept(path.name, sha256, reasons)

    def _reasons(self, confidence: float) -> tuple[str, ...]:
        rules = self._rules()
        if not rules.is_on:
            return ()
        reasons: tuple[str, ...] = ()
        if 100 * confidence < rules.min_confidence:
            reasons += (LOW_CONFIDENCE,)
        if self._is_sampled(rules):
            reasons += (SAMPLED,)
        return reasons

    def _is_sampled(self, rules: ReviewRules) -> bool:
        if rules.sampling_interval != self._interval:
            self._interval = rules.sampling_interval
            self._until_sample = secrets.randbelow(self._interval) + 1 if self._interval else 0
        if not self._interval:
            return False
        self._until_sample -= 1
        if self._until_sample:
            return False
        self._until_sample = self._interval
        now_s = self._clock()
        if now_s < self._next_sample_s:
            return False
        self._next_sample_s = now_s + rules.sampling_pause_s
        return True
