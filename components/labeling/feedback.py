"""Put what a user says of an image before the people who label.

    python -m components.labeling feedback --image photo.jpg --said sea

A page that takes feedback uses shared/component/feedback.py as this does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.labeling.clients import Clients
from components.labeling.model import Model
from components.labeling.settings import Secrets, Settings
from shared.component import review_queue
from shared.component.errors import InputError, UsageError
from shared.component.feedback import FeedbackBox, Prediction
from shared.component.object_store import open_store
from shared.component.review_queue import ReviewTask

log = logging.getLogger(__name__)


def run_command(settings: Settings, _secrets: Secrets, ports: Mapping[str, Any]) -> None:
    """Take one user's word about one image."""
    if not ports["image"] or not ports["said"]:
        raise UsageError("feedback: nothing said; pass --image FILE --said LABEL")
    clients = Clients.connect(settings)
    box = FeedbackBox(open_store(settings.queue.uri.rstrip("/"), clients.s3))
    model = Model(clients.runtime, settings.endpoint)
    path = Path(ports["image"])
    task = take(box, model, path, ports["said"], settings.max_image_bytes, time.time())
    log.info("feedback: image=%s predicted=%s said=%s", task.sha256, task.label, task.said)


def take(
    box: FeedbackBox, model: Model, path: Path, said: str, max_bytes: int, now_s: float
) -> ReviewTask:
    """Ask the model what it says, and queue the image with what the user says.

    now_s: seconds since the epoch.

    Raises:
        InputError: no such image, an odd one, or no label of the model's.
        EndpointAwayError, NoSuggestionError: the model says nothing.
        StorageError: the queue cannot be written.
    """
    extension = review_queue.EXTENSIONS.get(path.suffix.lower())
    if extension is None or not path.is_file() or path.stat().st_size > max_bytes:
        raise InputError(
            f"feedback: {path} is no JPEG, PNG or WebP file of at most {max_bytes} bytes"
        )
    data = path.read_bytes()
    answer = model.ask(data)
    probabilities = dict(zip(answer.labels, answer.probabilities, strict=True))
    shown = Prediction(answer.model_version, probabilities)
    return box.add(data, extension, shown, said, now_s)
