"""What users say of a prediction, on its way to the people who label.

A user's word is no label: the image becomes a task like any other, and annotators decide.
Written down is what was said and when, once an image and day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from shared.component import review_queue
from shared.component.errors import InputError
from shared.component.object_store import ObjectStore
from shared.component.review_queue import ReviewTask


class FeedbackLimitError(InputError):
    """Users have said as much today as people can look at."""


@dataclass(frozen=True)
class Prediction:
    """What the user was shown.

    probabilities: in [0, 1], by label, in the model's order.
    """

    model_version: str
    probabilities: Mapping[str, float]
    request_id: str = ""

    @property
    def label(self) -> str:
        return max(self.probabilities, key=lambda label: self.probabilities[label])


@dataclass(frozen=True)
class FeedbackBox:
    """Takes feedback into the review queue.

    store: the endpoint's sink. daily_limit: images a day (UTC) at most, of all users.
    """

    store: ObjectStore
    daily_limit: int = 200

    def add(
        self, image: bytes, extension: str, shown: Prediction, said: str, now_s: float
    ) -> ReviewTask:
        """Queue an image with what the user says it is; twice a day it is queued once.

        extension: of the image's format, lower case without a dot. said: one of the model's
        labels. now_s: seconds since the epoch.

        Raises:
            InputError: the label is none of the model's, or the format has an odd name.
            FeedbackLimitError: the day is full.
            StorageError: the queue cannot be written.
        """
        if said not in shown.probabilities:
            known = ", ".join(shown.probabilities)
            raise InputError(f"feedback: '{said}' is no label of the model; use one of {known}")
        sha256 = hashlib.sha256(image).hexdigest()
        name = f"{sha256}.{extension}"
        if not review_queue.IMAGE_NAME.fullmatch(name):
            raise InputError(f"feedback: '{extension}' names no image format; use jpg, png or webp")
        today = f"{review_queue.FEEDBACK}{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}/"
        self._check_room(today, sha256)
        task = ReviewTask(
            image=review_queue.image_key(name),
            model_version=shown.model_version,
            label=shown.label,
            confidence=shown.probabilities[shown.label],
            labels=tuple(shown.probabilities),
            probabilities=tuple(shown.probabilities.values()),
            reasons=(review_queue.USER_FEEDBACK,),
            request_id=shown.request_id,
            time=now_s,
            said=said,
        )
        self._put_image(task, sha256, image)
        self.store.put_new(review_queue.task_key(sha256), task.encode())
        # Last: what counts against the limit has its task.
        self.store.put(f"{today}{sha256}.json", task.encode())
        return task

    def _check_room(self, today: str, sha256: str) -> None:
        said = {entry.key for entry in self.store.list(today)}
        if len(said - {f"{today}{sha256}.json"}) >= self.daily_limit:
            raise FeedbackLimitError(
                f"feedback: {self.daily_limit} images were reported today; try again tomorrow"
            )

    def _put_image(self, task: ReviewTask, sha256: str, image: bytes) -> None:
        """Put the image unless it is there under any extension: a task names one."""
        found = self.store.get(review_queue.task_key(sha256))
        if found is not None:
            task = replace(task, image=review_queue.read_task(found, sha256).image)
        self.store.put_new(task.image, image)
