"""Images that people shall look at: what lies where, below the endpoint's sink.

    review/images/<sha256>.<ext>   the image as it was sent
    review/tasks/<sha256>.json     a `ReviewTask`: what the model said, and why it is here
    review/audit/<sha256>.json     the same, of an image drawn at random to measure the model
    review/feedback/<day>/<sha256>.json   the same, of what users said that day
    review/gold.json               known answers, put there by the labelling component

Written by the endpoint's collector and by whoever takes feedback; read by the labelling
component. An image has one task, which is never rewritten; its object comes before it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from shared.component.errors import InputError

FOLDER = "review/"
IMAGES = f"{FOLDER}images/"
TASKS = f"{FOLDER}tasks/"
AUDIT = f"{FOLDER}audit/"
FEEDBACK = f"{FOLDER}feedback/"
GOLD = f"{FOLDER}gold.json"

LOW_CONFIDENCE = "low_confidence"
SAMPLED = "sampled"  # of the audit
USER_FEEDBACK = "feedback"

# Of files that people give; what the endpoint keeps is named by its format.
EXTENSIONS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}
IMAGE_NAME = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,5}")  # <sha256>.<extension>


@dataclass(frozen=True)
class ReviewTask:
    """What the model said of one image.

    image: its key below the sink. labels: the model's classes, in its order.
    confidence, probabilities: in [0, 1], the latter in the order of `labels`.
    reasons: low_confidence, sampled, feedback. time: seconds since the epoch.
    said: the label that a user gave, "" where none did.
    """

    image: str
    model_version: str
    label: str
    confidence: float
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    reasons: tuple[str, ...]
    request_id: str
    time: float
    said: str = ""

    @property
    def sha256(self) -> str:
        return sha256_of_key(self.image)

    @property
    def is_audit(self) -> bool:
        return SAMPLED in self.reasons

    def encode(self) -> bytes:
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()


def read_task(data: bytes, where: str) -> ReviewTask:
    """Read what `encode` wrote; fields that are not ours are ignored.

    Raises:
        InputError: it is no task; `where` is named.
    """
    try:
        body: dict[str, Any] = json.loads(data)
        lists = {n: tuple(body[n]) for n in ("labels", "probabilities", "reasons")}
        task = ReviewTask(
            **{n: body[n] for n in ReviewTask.__dataclass_fields__ if n in body} | lists
        )
        if len(task.labels) != len(task.probabilities) or not sha256_of_key(task.image):
            raise ValueError("labels, probabilities and image do not fit")
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise InputError(f"review queue: {where} is no task: {err!r}; remove it") from err
    return task


def image_key(name: str) -> str:
    """Return where an image lies; name: <sha256>.<extension>."""
    return IMAGES + name


def task_key(sha256: str) -> str:
    return f"{TASKS}{sha256}.json"


def audit_key(sha256: str) -> str:
    return f"{AUDIT}{sha256}.json"


def sha256_of_key(key: str) -> str:
    """Return the hash in an image's key or URI, "" where it is none of the queue's."""
    path = PurePosixPath(key)
    is_ours = IMAGE_NAME.fullmatch(path.name) and f"{path.parent}/".endswith(IMAGES)
    return path.stem if is_ours else ""


def read_gold(document: Any) -> dict[str, str]:
    """Return the known labels by the image's sha256.

    Raises:
        InputError: the document is no gold list.
    """
    is_list = isinstance(document, dict) and document.get("schema") == 1
    gold = document.get("gold") if is_list else None
    if not isinstance(gold, dict):
        raise InputError(f"review queue: {GOLD} is no list of gold images; restore or remove it")
    return {str(sha256): str(label) for sha256, label in gold.items()}
