"""Collect Label Studio's annotations and the images they name.

Two forms are read: the objects that Label Studio's S3 target storage writes, one
annotation each (the key has no extension), and a JSON export, a list of tasks with
their annotations. Which label counts is decided in preprocess; nothing is dropped here.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from components.fetch_data.errors import LayoutError
from components.fetch_data.image_folders import link_or_copy
from shared.component import storage
from shared.component.errors import StorageError
from shared.component.files import write_json
from shared.component.progress import track

log = logging.getLogger(__name__)
_FETCHERS = 16  # image downloads wait for the network, not for a core


@dataclass(frozen=True)
class Annotation:
    """One person's answer to one task.

    image_file: below the Annotations folder; "" where it could not be fetched.
    choices: as given, so none, several or unknown ones are possible.
    annotator: the person's number in Label Studio, "" when unknown.
    """

    annotation_id: str
    task_id: str
    image_uri: str
    choices: tuple[str, ...]
    annotator: str
    was_cancelled: bool
    ground_truth: bool
    updated_at: str
    image_file: str = ""


def collect(uri: str, scratch: Path, folder: Path, max_bytes: int) -> int:
    """Write annotations.json and images/ into `folder`; return the number of annotations.

    Raises:
        StorageError: nothing is at `uri`, or it may not be read.
        LayoutError: the file is no Label Studio export.
    """
    if not uri:
        write_json(folder / "annotations.json", {"source": "", "objects": 0})
        return 0
    log.info("fetching annotations from %s", storage.redacted(uri))
    source = storage.download(uri, scratch, max_bytes=max_bytes)
    unreadable: list[str] = []
    annotations = _latest(_read(source, unreadable))
    files, missing = _fetch_images(annotations, source, scratch, folder, max_bytes)
    annotations = [
        replace(a, image_uri=storage.redacted(a.image_uri), image_file=files.get(a.image_uri, ""))
        for a in annotations
    ]
    document = {
        "source": storage.redacted(uri),
        "objects": len(annotations),
        "annotations": [asdict(a) for a in annotations],
        "missing_images": missing,
        "unreadable": unreadable,
    }
    write_json(folder / "annotations.json", document)
    log.info(
        "annotations=%d images=%d missing_images=%d unreadable=%d",
        *(len(annotations), len(files), len(missing), len(unreadable)),
    )
    return len(annotations)


def _read(source: Path, unreadable: list[str]) -> Iterator[Annotation]:
    if source.is_file():
        try:
            yield from _parse(json.loads(source.read_bytes()))
        except (ValueError, TypeError, AttributeError, KeyError) as err:
            raise LayoutError(
                f"fetch_data: annotations: {source.name} is no Label Studio JSON export: {err!r}; "
                "export as JSON or give the folder of its S3 objects"
            ) from err
        return
    paths = (p for p in sorted(source.rglob("*")) if p.is_file() and not p.name.startswith("."))
    for path in paths:
        try:
            yield from list(_parse(json.loads(path.read_bytes())))
        except (ValueError, TypeError, AttributeError, KeyError):
            unreadable.append(str(path.relative_to(source)))
            log.warning("annotations: %s is no annotation; left out", path.name)


def _parse(document: Any) -> Iterator[Annotation]:
    """Yield the annotations of an S3 object, a task, or a list of either."""
    if isinstance(document, list):
        for item in document:
            yield from _parse(item)
    elif "annotations" in document:
        for body in document["annotations"]:
            yield _annotation(body, document)
    else:
        yield _annotation(document, document["task"])


def _annotation(body: dict[str, Any], task: dict[str, Any]) -> Annotation:
    who = body.get("completed_by")
    return Annotation(
        annotation_id=str(body["id"]),
        task_id=str(task["id"]),
        image_uri=_image_uri(task["data"]),
        choices=tuple(
            str(choice)
            for region in body["result"]
            if region.get("type") == "choices"
            for choice in region["value"]["choices"]
        ),
        annotator=str((who.get("id") if isinstance(who, dict) else who) or ""),
        was_cancelled=bool(body.get("was_cancelled")),
        ground_truth=bool(body.get("ground_truth")),
        updated_at=str(body.get("updated_at") or ""),
    )


def _image_uri(data: dict[str, Any]) -> str:
    """Return the task's image; projects may call the field something else."""
    texts = [value for value in data.values() if isinstance(value, str)]
    uri = data.get("image") or (texts[0] if len(texts) == 1 else None)
    if not isinstance(uri, str):
        raise KeyError("image")
    return uri


def _latest(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep the last state of each annotation: a sync writes all of them again."""
    latest: dict[str, Annotation] = {}
    for annotation in annotations:
        known = latest.get(annotation.annotation_id)
        if known is None or annotation.updated_at >= known.updated_at:
            latest[annotation.annotation_id] = annotation
    return sorted(latest.values(), key=lambda a: (a.task_id, a.annotation_id))


def _fetch_images(
    annotations: list[Annotation], source: Path, scratch: Path, folder: Path, max_bytes: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Fetch each image once; return the files by URI, and why others are missing."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    base = source if source.is_dir() else source.parent

    def fetch(uri: str) -> str:
        name = hashlib.sha256(uri.encode()).hexdigest()[:20]
        location = uri if "://" in uri else str(base / uri)
        path = storage.download(location, scratch / name, max_bytes=max_bytes)
        suffix = PurePosixPath(urlsplit(uri).path).suffix.lower()
        if not path.is_file():
            raise StorageError("a folder, not an image")
        link_or_copy(path, images / f"{name}{suffix}")
        return f"images/{name}{suffix}"

    def outcome(uri: str) -> tuple[str, str, str]:
        try:
            return uri, fetch(uri), ""
        except (StorageError, OSError) as err:
            return uri, "", str(err)

    uris = sorted({a.image_uri for a in annotations})
    files, missing = {}, {}
    with ThreadPoolExecutor(_FETCHERS) as pool:
        for uri, file, problem in track(pool.map(outcome, uris), len(uris), "images", "labels"):
            if problem:
                missing[storage.redacted(uri)] = problem
            else:
                files[uri] = file
    return files, missing
