"""Images in use: sent to the endpoint as a customer's program sends them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ci.loop.images import Images
from ci.loop.surroundings import CAPTURE, ENDPOINT, LoopError, Place, await_true
from shared.component import review_queue
from shared.component.progress import track

_CLIENTS = 4
_PREFIX = "endpoint/"
_LOOKS = 15  # a tenth of a second apart; the collector brings a record within one or two


@dataclass(frozen=True)
class Traffic:
    """What the endpoint said: how many images, of them right and unsure; refused: no image."""

    images: int
    refused: int
    right: int
    unsure: int
    model_version: str


@dataclass(frozen=True)
class Queue:
    """What came to people: tasks, of them for the audit."""

    tasks: int
    audit: int


def send(place: Place, images: Images, min_confidence: float) -> Traffic:
    """Send every image once; min_confidence: in percent, below it an answer is unsure."""
    client = place.client("sagemaker-runtime")

    def ask(path: Path) -> _Said | None:
        return _ask(client, path)

    with ThreadPoolExecutor(_CLIENTS) as pool:
        answering = pool.map(ask, images.traffic)
        answers = list(track(answering, len(images.traffic), "images", "traffic"))
    said = [answer for answer in answers if answer is not None]
    if not said:
        raise LoopError("loop: the endpoint took none of the images; look into endpoint.log")
    return Traffic(
        images=len(said),
        refused=len(answers) - len(said),
        right=sum(answer.is_right for answer in said),
        unsure=sum(100 * answer.confidence < min_confidence for answer in said),
        model_version=said[-1].model_version,
    )


@dataclass(frozen=True)
class _Said:
    is_right: bool
    confidence: float
    model_version: str


def _ask(client: Any, path: Path) -> _Said | None:
    """Return what the endpoint said; None: it takes no such image."""
    try:
        answer = client.invoke_endpoint(
            EndpointName=ENDPOINT, Body=path.read_bytes(), ContentType="application/x-image"
        )
    except client.exceptions.ModelError as err:
        if err.response["OriginalStatusCode"] != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return None
    said = json.loads(answer["Body"].read())
    prediction = said["predictions"][0]
    is_right = prediction["label"] == path.parent.name
    return _Said(is_right, prediction["confidence"], str(said["model_version"]))


def queued(place: Place) -> Queue:
    """Wait until all that was kept has reached the review queue, and count it."""
    client = place.client("s3")

    def count(folder: str) -> int:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=CAPTURE, Prefix=_PREFIX + folder
        )
        return sum(page.get("KeyCount", 0) for page in pages)

    seen = [-1]

    def is_still() -> bool:
        seen.append(count(review_queue.TASKS) + count(review_queue.AUDIT))
        return len(seen) > _LOOKS and len(set(seen[-_LOOKS:])) == 1 and seen[-1] > 0

    await_true(is_still, "the review queue")
    return Queue(count(review_queue.TASKS), count(review_queue.AUDIT))
