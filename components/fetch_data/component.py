"""Fetch images and annotations, and lay them out as RawImages and Annotations.

raw/train/<class>/, raw/test/<class>/, raw/unlabelled/ and, last, raw/raw.json.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.fetch_data.annotations import collect
from components.fetch_data.errors import LayoutError
from components.fetch_data.image_folders import Findings, FoundImage, find_images, lay_out
from components.fetch_data.sources import Source, fetch
from shared.component.errors import UsageError
from shared.component.files import write_json

log = logging.getLogger(__name__)
_LISTED_FILES = 100  # raw.json names so many skipped files; their number is always exact


def run(
    *,
    train: str,
    test: str,
    annotations: str,
    checksum: str,
    max_download_gb: float,
    raw: Path,
    labels: Path,
) -> None:
    """Fetch everything; raw.json and annotations.json appear only when all is there."""
    if not train:
        raise UsageError("fetch_data: parameter 'train' is empty; pass --train URI")
    max_bytes = int(max_download_gb * 1e9)
    _clear(raw, "raw.json", "train", "test", "unlabelled")
    _clear(labels, "annotations.json", "images")
    # Beside the output, so that unpacked files are linked into place, not copied.
    with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-") as name:
        scratch = Path(name)
        train_source = fetch(train, scratch / "train", max_bytes, checksum)
        test_source = fetch(test, scratch / "test", max_bytes) if test else None
        raw_images = _arrange(train_source, test_source)
        document = _lay_out(raw_images, raw)
        collect(annotations, scratch / "annotations", labels, max_bytes)
    write_json(raw / "raw.json", document)


@dataclass(frozen=True)
class _RawImages:
    """Which image goes into which split, and why files were skipped."""

    sources: dict[str, Source]
    splits: dict[str, list[FoundImage]]
    skipped: dict[str, str]


def _arrange(train: Source, test: Source | None) -> _RawImages:
    """Decide which image goes where; a test source of its own beats train's test folder."""
    found = find_images(train.folder)
    splits = {
        "train": found.of_split("train") or found.of_split(None),
        "test": found.of_split("test"),
        "unlabelled": found.of_split("unlabelled"),
    }
    _require(splits["train"], train.uri, found)
    sources, skipped = {"train": train}, dict(found.skipped)
    if test is not None:
        if splits["test"]:
            log.info("test images inside train are left out: %d", len(splits["test"]))
        found = find_images(test.folder)
        splits["test"] = found.of_split("test") or found.of_split(None) or found.of_split("train")
        _require(splits["test"], test.uri, found)
        sources["test"] = test
        skipped |= {f"test: {file}": reason for file, reason in found.skipped.items()}
    return _RawImages(sources, splits, skipped)


def _require(images: list[FoundImage], uri: str, found: Findings) -> None:
    if images:
        return
    example = next((f" ({file}: {why})" for file, why in found.skipped.items()), "")
    raise LayoutError(
        f"fetch_data: no images in class folders at {uri}, {len(found.skipped)} other files"
        f"{example}; expected <class>/*.jpg or train/<class>/*.jpg"
    )


def _lay_out(raw_images: _RawImages, raw: Path) -> dict[str, object]:
    """Link the images into place and return what raw.json says."""
    counts = {
        split: lay_out(images, raw / split) for split, images in raw_images.splits.items() if images
    }
    unlabelled = sum(counts.pop("unlabelled", {}).values())
    for split, by_class in counts.items():
        log.info("%s_images=%d classes=%d", split, sum(by_class.values()), len(by_class))
    log.info("unlabelled_images=%d", unlabelled)
    skipped = raw_images.skipped
    if skipped:
        log.warning("skipped_files=%d, first: %s", len(skipped), next(iter(skipped)))
    return {
        "schema_version": 1,
        "sources": {
            name: {"uri": source.uri, "archive_sha256": source.archive_sha256}
            for name, source in raw_images.sources.items()
        },
        "counts": counts,
        "unlabelled": unlabelled,
        "layout": {
            split: os.path.commonpath([image.location.parent for image in images])
            for split, images in raw_images.splits.items()
            if images
        },
        "skipped": {"count": len(skipped), "files": dict(list(skipped.items())[:_LISTED_FILES])},
    }


def _clear(folder: Path, *names: str) -> None:
    """Remove what an earlier run left, its marker file first."""
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
