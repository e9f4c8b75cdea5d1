"""Pack planned images into shards; every machine of a job writes a share of them.

The plan is the same on every machine because it follows from the content, so shards
are dealt out by number and the union does not depend on how many machines there are.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from components.preprocess.parallel import map_on_cores
from components.preprocess.scan import ImageRef
from shared.component.layout import Instance
from shared.component.progress import track
from shared.vision.dataset import Sample, shard_name, write_shard
from shared.vision.images import decode_rgb

_QUALITY = 95  # visually lossless: these pixels are scaled once more while training


@dataclass(frozen=True)
class PlannedImage:
    """An image that will be written.

    shrink_to: shorter side in pixels to scale down to; 0 keeps the bytes.
    """

    ref: ImageRef
    sha256: str
    extension: str
    class_name: str | None
    source: str
    provenance: str
    annotator_ids: tuple[str, ...] = ()
    shrink_to: int = 0


@dataclass(frozen=True)
class ShardPlan:
    """A shard that will be written: its name without extension, its images in order."""

    name: str
    images: tuple[PlannedImage, ...]


def plan_shards(
    splits: Mapping[str, Sequence[PlannedImage]], shard_images: int
) -> dict[str, list[ShardPlan]]:
    """Deal each split into shards in the order of content hashes, which mixes classes."""
    plans = {}
    for split, images in splits.items():
        ordered = sorted(images, key=lambda image: image.sha256)
        starts = range(0, len(ordered), shard_images)
        plans[split] = [
            ShardPlan(shard_name(split, number), tuple(ordered[start : start + shard_images]))
            for number, start in enumerate(starts)
        ]
    return plans


def write_shards(plans: Iterable[ShardPlan], folder: Path, instance: Instance) -> int:
    """Write this machine's share of the shards, on every core; return their number."""
    own = [p for number, p in enumerate(plans) if number % instance.count == instance.index]
    # Only scaling down is worth a core more; copying waits for the disk.
    chunk = 1 if any(image.shrink_to for plan in own for image in plan.images) else len(own) or 1
    written = map_on_cores(partial(_write, folder), own, chunk)
    return sum(1 for _ in track(written, len(own), "shards", "pack"))


def clear_shards(folder: Path) -> None:
    """Remove a data set that an earlier run left, dataset.json first."""
    (folder / "dataset.json").unlink(missing_ok=True)
    for pattern in ("*.tar", "*.jsonl"):
        for path in folder.glob(pattern):
            path.unlink()


def _write(folder: Path, plan: ShardPlan) -> None:
    write_shard(folder, plan.name, _samples(plan.images))


def _samples(images: Iterable[PlannedImage]) -> Iterator[Sample]:
    """Read the images one by one."""
    for image in images:
        data = image.ref.read()
        yield Sample(
            data=_shrunk(data, image.shrink_to) if image.shrink_to else data,
            extension="jpg" if image.shrink_to else image.extension,
            class_name=image.class_name,
            source=image.source,
            provenance=image.provenance,
            sha256=image.sha256,
            annotator_ids=image.annotator_ids,
        )


def _shrunk(data: bytes, side: int) -> bytes:
    """Return a JPEG whose shorter side has `side` pixels."""
    image = decode_rgb(data, at_least=2 * side)  # libjpeg halves well, Lanczos does the rest
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(
        stream, format="JPEG", quality=_QUALITY, subsampling=0
    )
    return stream.getvalue()
