"""Which images are shown without a suggestion: the audit sample, gold images, a blind share.

The first two are facts of the review queue. They are listed, not asked for image by image:
a listing brings a thousand names, and suggestions are wanted by the hundred.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from components.labeling.blind import is_blind
from components.labeling.errors import QueueAwayError
from components.labeling.settings import Place
from shared.component import review_queue
from shared.component.errors import InputError

_REFRESH_S = 10.0  # an image waits longer than this for Label Studio to list it


class Withheld:
    """Call it with an image's sha256, after `refresh`.

    client: boto3's of S3. share: of all other images, in [0, 1].
    """

    def __init__(
        self,
        client: Any,
        queue: Place,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        refresh_s: float = _REFRESH_S,
    ) -> None:
        self._client = client
        self._queue = queue
        self._share = share
        self._clock = clock
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._measured: frozenset[str] = frozenset()
        self._next = float("-inf")

    def __call__(self, sha256: str) -> bool:
        return sha256 in self._measured or is_blind(sha256, self._share)

    def refresh(self) -> None:
        """Look at the queue, unless somebody has done so lately.

        Raises:
            QueueAwayError: S3 gives no answer; to guess would show what must not be shown.
        """
        with self._lock:
            if self._clock() < self._next:
                return
            try:
                self._measured = frozenset((*self._audit(), *self._gold()))
            except (BotoCoreError, ClientError, InputError, ValueError) as err:
                raise QueueAwayError(
                    f"labeling: cannot tell from {self._queue.uri} which images are measured: "
                    f"{err}; check S3 and the role"
                ) from err
            self._next = self._clock() + self._refresh_s

    def _audit(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._queue.bucket, Prefix=self._queue.key(review_queue.AUDIT)
        )
        for page in pages:
            for found in page.get("Contents", ()):
                yield found["Key"].rpartition("/")[2].removesuffix(".json")

    def _gold(self) -> Iterator[str]:
        key = self._queue.key(review_queue.GOLD)
        try:
            body = self._client.get_object(Bucket=self._queue.bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return
        yield from review_queue.read_gold(json.loads(body))
