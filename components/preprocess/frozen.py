"""The frozen test set: what an earlier run measured on, this run measures on.

It is a Dataset with a test split alone. Its images are taken byte for byte, whatever
the raw test images are by now.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.preprocess.scan import Candidate, ImageRef, ScannedImage, scan
from shared.component import storage
from shared.vision.dataset import Dataset
from shared.vision.errors import DatasetError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrozenTest:
    """The images of the frozen test set.

    folder: where it lies on this machine.
    records: index lines by sha256.
    """

    folder: Path
    classes: tuple[str, ...]
    images: list[ScannedImage]
    records: dict[str, dict[str, Any]] = field(repr=False)


def open_frozen(uri: str, scratch: Path) -> FrozenTest | None:
    """Fetch and read the frozen test set; None where `uri` holds none yet.

    Raises:
        StorageError: the place may not be read.
        DatasetError: it holds something else, or damaged images.
    """
    if not uri or storage.is_empty(uri):
        return None
    folder = storage.download(uri, scratch)
    dataset = Dataset.open(folder)
    if not dataset.info.shards.get("test"):
        raise DatasetError(
            f"preprocess: no test images in {uri}; clear it to freeze a new test set"
        )
    records = list(dataset.split("test").records())
    shards = {Path(name).stem: folder / name for name in dataset.info.shards["test"]}
    found = [
        Candidate(
            ImageRef(str(shards[line["key"].rpartition("-")[0]]), line["offset"], line["size"]),
            "frozen",
            line["class_name"],
            line["source"],
        )
        for line in records
    ]
    images = scan(found, min_side=1)  # what was fit to measure on stays in
    for image, line in zip(images, records, strict=True):
        if image.sha256 != line["sha256"] or image.problem:
            raise DatasetError(
                f"preprocess: the frozen test set at {uri} is damaged at {image.source}; "
                "restore it from a copy"
            )
    log.info("frozen_test_images=%d from %s", len(images), storage.redacted(uri))
    return FrozenTest(folder, dataset.classes, images, {line["sha256"]: line for line in records})
