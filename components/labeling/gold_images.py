"""Put images with known answers into the review queue, to be labelled like all others.

The folder has a folder for each class, as training data have. People cannot tell a gold image
from another: it lies where all images lie, and its answer lies elsewhere (review/gold.json).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.labeling.clients import Clients
from components.labeling.model import Model
from components.labeling.settings import Secrets, Settings
from shared.component import review_queue
from shared.component.errors import InputError, StorageError, UsageError
from shared.component.object_store import ObjectStore, open_store
from shared.component.progress import track

log = logging.getLogger(__name__)
_ATTEMPTS = 5  # others may write the list at the same time


def put_gold(store: ObjectStore, folder: Path, labels: Sequence[str], max_bytes: int) -> int:
    """Put the images below `folder` and their answers; return how many answers are new.

    labels: the model's; a folder of another name is refused before anything is written.

    Raises:
        InputError: the folder holds no images, or one that cannot be taken.
        StorageError: the queue cannot be written.
    """
    images = _find(folder, labels, max_bytes)
    answers: dict[str, str] = {}
    for path in images:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if answers.setdefault(sha256, path.parent.name) != path.parent.name:
            raise InputError(f"gold: {path} is also among {answers[sha256]}; remove one")
    # The answers first: an image that is not known to be gold would be trained on.
    count = _merge(store, answers)
    for path in track(images, len(images), "images", "gold"):
        data = path.read_bytes()
        name = f"{hashlib.sha256(data).hexdigest()}.{review_queue.EXTENSIONS[path.suffix.lower()]}"
        store.put_new(review_queue.image_key(name), data)
    return count


def _find(folder: Path, labels: Sequence[str], max_bytes: int) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"gold: no folder {folder}; pass --gold FOLDER with a folder per class")
    images = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name[0] != "."):
        if path.parent.parent != folder or path.parent.name not in labels:
            raise InputError(
                f"gold: {path} is in no folder of a class; the model's are {', '.join(labels)}"
            )
        if path.suffix.lower() not in review_queue.EXTENSIONS or path.stat().st_size > max_bytes:
            raise InputError(f"gold: {path} is no JPEG, PNG or WebP of at most {max_bytes} bytes")
        images.append(path)
    if not images:
        raise InputError(f"gold: no images below {folder}; put them into a folder per class")
    return images


def _merge(store: ObjectStore, answers: dict[str, str]) -> int:
    """Add answers to the list; another writer's are kept."""
    for _ in range(_ATTEMPTS):
        found = store.read(review_queue.GOLD)
        known = review_queue.read_gold(json.loads(found[0])) if found else {}
        for sha256, label in answers.items():
            if known.get(sha256, label) != label:
                raise InputError(
                    f"gold: {sha256} is known as {known[sha256]}, not {label}; "
                    f"correct {store.uri}/{review_queue.GOLD} or move the image"
                )
        new = answers.keys() - known.keys()
        if not new:
            return 0
        document = {"schema": 1, "gold": known | answers}
        data = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
        if found:
            is_put = store.put_match(review_queue.GOLD, data, found[1])
        else:
            is_put = store.put_new(review_queue.GOLD, data)
        if is_put:
            return len(new)
    raise StorageError(f"gold: {store.uri}/{review_queue.GOLD} changes all the time; try again")


def run_command(settings: Settings, _secrets: Secrets, ports: dict[str, Any]) -> None:
    """Put the images of the folder that --gold names."""
    if not ports["gold"]:
        raise UsageError("gold: no folder; pass --gold FOLDER with a folder per class")
    clients = Clients.connect(settings)
    labels = Model(clients.runtime, settings.endpoint).describe().labels
    store = open_store(settings.queue.uri.rstrip("/"), clients.s3)
    folder = Path(ports["gold"])
    count = put_gold(store, folder, labels, settings.max_image_bytes)
    log.info("gold: new=%d folder=%s", count, folder)
