"""Collect what people said, and the images they said it of.

Read are Label Studio's answers, as its S3 target storage writes them or as a JSON export,
and the annotation manifest that the labelling component's merge writes. Which answer counts
is decided in preprocess, and in a manifest it has been decided; nothing is dropped here.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from components.fetch_data.errors import LayoutError
from components.fetch_data.label_images import Wanted, fetch_images
from shared.component import storage
from shared.component.annotation_manifest import fingerprint, is_manifest, read_manifest
from shared.component.annotations import NOT_AN_ANNOTATION, Annotation, latest, parse
from shared.component.errors import StorageError
from shared.component.files import write_json

log = logging.getLogger(__name__)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def collect(uri: str, scratch: Path, folder: Path, max_bytes: int) -> int:
    """Write annotations.json and images/ into `folder`; return the number of annotations.

    Of an annotation manifest it is the number of labels.

    Raises:
        StorageError: nothing is at `uri`, or it may not be read, or no image of a manifest.
        LayoutError: the file is neither a Label Studio export nor a manifest, or a manifest
            that is not what its name says.
        InputError: a manifest is damaged.
    """
    if not uri:
        write_json(folder / "annotations.json", {"source": "", "objects": 0})
        return 0
    log.info("fetching annotations from %s", storage.redacted(uri))
    source = storage.download(uri, scratch, max_bytes=max_bytes)
    shown = storage.redacted(uri)
    if source.is_file() and is_manifest(document := _json(source)):
        return _collect_labels(shown, source, scratch, folder, max_bytes)
    unreadable: list[str] = []
    answers = parse(document) if source.is_file() else _parse_objects(source, unreadable)
    annotations = _latest(answers, source)
    wanted = {a.image_uri: Wanted(_name_of(a.image_uri), a.image_uri) for a in annotations}
    base = source if source.is_dir() else source.parent
    files, missing = fetch_images(list(wanted.values()), base, scratch, folder, max_bytes)
    annotations = [
        replace(a, image_uri=storage.redacted(a.image_uri), image_file=files.get(a.image_uri, ""))
        for a in annotations
    ]
    body = {
        "source": shown,
        "objects": len(annotations),
        "annotations": [asdict(a) for a in annotations],
        "missing_images": missing,
        "unreadable": unreadable,
    }
    write_json(folder / "annotations.json", body)
    log.info(
        "annotations=%d images=%d missing_images=%d unreadable=%d",
        *(len(annotations), len(files), len(missing), len(unreadable)),
    )
    return len(annotations)


def _collect_labels(shown: str, source: Path, scratch: Path, folder: Path, max_bytes: int) -> int:
    """Collect a manifest's images, each of which must be the very one that was labelled."""
    data = source.read_bytes()
    found = fingerprint(data)
    if _FINGERPRINT.fullmatch(source.stem) and source.stem != found:
        raise LayoutError(
            f"fetch_data: annotations: {shown} has sha256 {found}: not the manifest that its name "
            "says; restore it, or merge again"
        )
    labels = read_manifest(data, shown).labels
    wanted = [Wanted(label.sha256, label.image, label.sha256) for label in labels]
    files, missing = fetch_images(wanted, source.parent, scratch, folder, max_bytes)
    if labels and not files:  # a role that may not read them must not look like no labels
        uri, problem = next(iter(missing.items()))
        raise StorageError(
            f"fetch_data: annotations: none of the {len(labels)} images of {shown} can be "
            f"fetched, first {uri}: {problem}"
        )
    body = {
        "source": shown,
        "fingerprint": found,
        "objects": len(labels),
        "labels": [
            {
                "sha256": label.sha256,
                "image_uri": storage.redacted(label.image),
                "image_file": files.get(label.image, ""),
                "label": label.label,
                "annotators": label.annotators,
                "decided_by": label.decided_by,
            }
            for label in labels
        ],
        "missing_images": missing,
    }
    write_json(folder / "annotations.json", body)
    log.info("labels=%d images=%d missing_images=%d", len(labels), len(files), len(missing))
    return len(labels)


def _json(source: Path) -> Any:
    try:
        return json.loads(source.read_bytes())
    except (ValueError, RecursionError) as err:
        raise _no_export(source, err) from err


def _latest(answers: Iterator[Annotation], source: Path) -> list[Annotation]:
    try:
        return latest(answers)
    except NOT_AN_ANNOTATION as err:
        raise _no_export(source, err) from err


def _no_export(source: Path, err: Exception) -> LayoutError:
    return LayoutError(
        f"fetch_data: annotations: {source.name} is no Label Studio JSON export: {err!r}; "
        "export as JSON, give the folder of its S3 objects, or an annotation manifest"
    )


def _parse_objects(source: Path, unreadable: list[str]) -> Iterator[Annotation]:
    paths = (p for p in sorted(source.rglob("*")) if p.is_file() and not p.name.startswith("."))
    for path in paths:
        try:
            yield from list(parse(json.loads(path.read_bytes())))
        except NOT_AN_ANNOTATION:
            unreadable.append(str(path.relative_to(source)))
            log.warning("annotations: %s is no annotation; left out", path.name)


def _name_of(uri: str) -> str:
    return sha256(uri.encode()).hexdigest()[:20]
