"""Bring the images that workers kept to where people label them.

The labelling part reads, below the sink:

    review/images/<sha256>.<ext>   the image as it was sent
    review/tasks/<sha256>.json     {image, model_version, label, confidence, probabilities,
                                    reasons, request_id, time}

image is the key of the image; confidence and probabilities are in [0, 1], the latter in
the bundle's order; reasons holds low_confidence, sampled or both; time is in seconds since
the epoch. The image is put before its task. There is one task per sha256, and one that
is there stays as it is.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from pathlib import Path

from components.inference.keeper import NAME_PATTERN
from components.inference.outbox import Outbox, Parcel
from components.inference.records import AnswerRecord, ImageRecord, probabilities_of

log = logging.getLogger(__name__)
_DAY_S = 86400
_REMEMBERED = 10_000
_ORPHAN_S = 600.0  # a record follows its image within a second, or never
_SWEEP_S = 60.0


class Review:
    """The way from the spool folder to the sink.

    daily_limit: tasks a day (UTC) and process at most; further images are removed.
    queued, refused, orphans: images since the start.
    """

    def __init__(self, outbox: Outbox, spool: Path, daily_limit: int) -> None:
        self._outbox = outbox
        self._spool = spool
        self._daily_limit = daily_limit
        self._known: OrderedDict[str, None] = OrderedDict()
        self._day = -1
        self._today = 0
        self._next_sweep = 0.0
        self.queued = 0
        self.refused = 0
        self.orphans = 0

    def add(self, answer: AnswerRecord, now_s: float) -> None:
        """Queue what a worker kept of a request; now_s: seconds since the epoch."""
        for image in answer.images:
            if NAME_PATTERN.fullmatch(image.kept):
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
        if sha256 in self._known:
            self._discard(path)
            return
        if not self._has_room(now_s):
            self.refused += 1
            self._discard(path)
            return
        try:
            size = path.stat().st_size
        except OSError:
            self.orphans += 1  # a record without its image
            return
        self._remember(sha256)
        key = f"review/images/{image.kept}"
        task = json.dumps(_task(answer, image, key), indent=2, sort_keys=True).encode()
        self._outbox.add(Parcel(key, path, size, is_new_only=True))
        self._outbox.add(Parcel(f"review/tasks/{sha256}.json", task, len(task), is_new_only=True))
        self.queued += 1

    def _has_room(self, now_s: float) -> bool:
        day = int(now_s // _DAY_S)
        if day != self._day:
            self._day, self._today = day, 0
        self._today += 1
        return self._today <= self._daily_limit

    def _remember(self, sha256: str) -> None:
        self._known[sha256] = None
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


def _task(answer: AnswerRecord, image: ImageRecord, key: str) -> dict[str, object]:
    return {
        "image": key,
        "model_version": answer.model_version,
        "label": image.label,
        "confidence": image.confidence,
        "probabilities": probabilities_of(image),
        "reasons": image.reasons,
        "request_id": answer.request_id,
        "time": answer.time,
    }
