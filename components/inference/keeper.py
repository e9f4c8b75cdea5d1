"""Decide in a worker, without locks, whether an image is kept for people to review.

Kept is an image the model is unsure of, and every n-th one whatever the model says.
The bytes go to the spool folder, whole or not at all; the collector brings them on
(review.py). Nothing here raises: an image that could not be written has reasons and
no name, which the collector counts.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.inference.review_rules import ReviewRules
from shared.component.files import atomic
from shared.component.review_queue import LOW_CONFIDENCE, SAMPLED

_MINUTE_S = 60.0


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


class Keeper:
    """One worker's share of the review queue.

    rules: returns the rules in force, which may change at any time. The count towards the
        next audit sample starts at a random phase, so that many short-lived workers together
        keep the right share.
    per_minute: images kept at most, and as many audit samples: what measures a bad minute
        must not be lost to it. More than that are not asked for.
    """

    def __init__(
        self,
        spool: Path,
        rules: Callable[[], ReviewRules] = ReviewRules,
        per_minute: int = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._rules = rules
        self._per_minute = per_minute
        self._clock = clock
        self._interval = 0
        self._until_sample = 0
        self._next_sample_s = 0.0
        self._minute = -1
        self._kept_this_minute: Counter[bool] = Counter()  # by whether for the audit

    def consider(self, data: bytes, extension: str, confidence: float) -> Kept:
        """Keep an encoded image if there is a reason to.

        extension: of its format, lower case without a dot; confidence: in [0, 1].
        """
        reasons = self._reasons(confidence)
        if not reasons or not self._has_room(SAMPLED in reasons):
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

    def _has_room(self, is_audit: bool) -> bool:
        minute = int(self._clock() // _MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._kept_this_minute.clear()
        self._kept_this_minute[is_audit] += 1
        return self._kept_this_minute[is_audit] <= self._per_minute
