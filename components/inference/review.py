"""Bring the images that workers kept to where people label them.

shared/component/review_queue.py says what lies where. The image is put before its task. There
is one task per sha256, and one that is there stays as it is. What was drawn for the audit is
written down in a place of its own as well: the image may have had its task long before.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path

from components.inference.outbox import Outbox, Parcel
from components.inference.records import AnswerRecord, ImageRecord, probabilities_of
from shared.component import review_queue
from shared.component.review_queue import ReviewTask

log = logging.getLogger(__name__)
_DAY_S = 86400
_REMEMBERED = 10_000
_ORPHAN_S = 600.0  # a record follows its image within a second, or never
_SWEEP_S = 60.0


class Review:
    """The way from the spool folder to the sink.

    labels: the model's classes, in its order.
    daily_limit: tasks a day (UTC) and process at most, and as many audit samples: a bad day
        must not push out what measures it. Further images are removed.
    queued, refused, orphans: images since the start.
    """

    def __init__(
        self, outbox: Outbox, spool: Path, daily_limit: int, labels: Sequence[str]
    ) -> None:
        self._outbox = outbox
        self._spool = spool
        self._daily_limit = daily_limit
        self._labels = tuple(labels)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._day = -1
        self._today: Counter[bool] = Counter()  # by whether it is for the audit
        self._next_sweep = 0.0
        self.queued = 0
        self.refused = 0
        self.orphans = 0

    def add(self, answer: AnswerRecord, now_s: float) -> None:
        """Queue what a worker kept of a request; now_s: seconds since the epoch."""
        for image in answer.images:
            if review_queue.IMAGE_NAME.fullmatch(image.kept):
                self._add_image(answer, image, now_s)

    def tick(self, now_s: float) -> None:
        """Remove files whose record never came, now and then."""
        if now_s < self._next_sweep:
            return
        self._next_sweep = now_s + _SWEEP_S
        try:
            awaited = self._outbox.sources()
            for path in self._spool.iterdir():
                if path not in awaited and now_s - path.stat().st_mtime > _ORPHAN_S:
                    path.unlink(missing_ok=True)
                    self.orphans += 1
        except OSError as err:
            log.warning("review: cannot sweep %s: %s", self._spool, err)

    def _add_image(self, answer: AnswerRecord, image: ImageRecord, now_s: float) -> None:
        path = self._spool / image.kept
        sha256 = image.kept.partition(".")[0]
        is_audit = review_queue.SAMPLED in image.reasons
        keys = [review_queue.task_key(sha256)] + [review_queue.audit_key(sha256)] * is_audit
        keys = [key for key in keys if key not in self._known]
        if not keys:
            self._discard(path)
            return
        if not self._has_room(now_s, is_audit):
            self.refused += 1
            self._discard(path)
            return
        try:
            size = path.stat().st_size
        except OSError:
            self.orphans += 1  # a record without its image
            return
        task = self._task(answer, image).encode()
        parcels = [Parcel(key, task, len(task), is_new_only=True) for key in keys]
        image_key = review_queue.image_key(image.kept)
        for parcel in (Parcel(image_key, path, size, is_new_only=True), *parcels):
            self._outbox.add(parcel)
        self._remember(keys)
        self.queued += 1

    def _task(self, answer: AnswerRecord, image: ImageRecord) -> ReviewTask:
        return ReviewTask(
            image=review_queue.image_key(image.kept),
            model_version=answer.model_version,
            label=image.label,
            confidence=image.confidence,
            labels=self._labels,
            probabilities=tuple(probabilities_of(image)),
            reasons=tuple(image.reasons),
            request_id=answer.request_id,
            time=answer.time,
        )

    def _has_room(self, now_s: float, is_audit: bool) -> bool:
        day = int(now_s // _DAY_S)
        if day != self._day:
            self._day = day
            self._today.clear()
        self._today[is_audit] += 1
        return self._today[is_audit] <= self._daily_limit

    def _remember(self, keys: Sequence[str]) -> None:
        self._known.update(dict.fromkeys(keys))
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _discard(self, path: Path) -> None:
        """Remove an image nobody will ask for, unless it is still on its way."""
        if path in self._outbox.sources():
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as err:
            log.warning("review: cannot remove %s: %s", path, err)
