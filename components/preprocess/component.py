"""Check the images, decide on the splits and pack them: RawImages -> Dataset.

On several machines each one looks at everything, so that all come to the same plan,
and writes its share of the shards; the first also writes dataset.json, the frozen
test set and the report.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from components.preprocess.annotations import Merge
from components.preprocess.curation import Curation, Settings, curate
from components.preprocess.data_report import write_report
from components.preprocess.frozen import FrozenTest, open_frozen
from components.preprocess.scan import ScannedImage
from components.preprocess.shards import PlannedImage, clear_shards, plan_shards, write_shards
from shared.component.layout import Instance, Layout
from shared.vision.dataset import DatasetInfo, fingerprint, write_info


def run(
    *,
    raw: Path,
    annotations: Path | None,
    frozen_test: str,
    image_size: int,
    val_fraction: float,
    test_fraction: float,
    near_duplicate_bits: int,
    min_side: int,
    max_bad_fraction: float,
    shard_images: int,
    seed: int,
    dataset: Path,
    frozen: Path,
    report: Path,
) -> None:
    """Write the data set; each folder's dataset.json appears when it is complete."""
    settings = Settings(
        image_size=image_size,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        near_duplicate_bits=near_duplicate_bits,
        min_side=min_side,
        max_bad_fraction=max_bad_fraction,
        shard_images=shard_images,
        seed=seed,
    )
    instance = Layout.from_environ().instance()
    clear_shards(dataset)
    with tempfile.TemporaryDirectory(dir=dataset, prefix=".frozen-") as scratch:
        fixed = open_frozen(frozen_test, Path(scratch))
        curation = curate(raw, annotations, fixed, settings)
        _write(curation, fixed, settings, instance, dataset, frozen)
    if instance.index == 0:
        write_report(curation, report)


def _write(
    curation: Curation,
    frozen: FrozenTest | None,
    settings: Settings,
    instance: Instance,
    dataset: Path,
    frozen_out: Path,
) -> None:
    planned = {
        split: [_plan(image, split, curation.merge, frozen, settings) for image in images]
        for split, images in curation.splits.items()
    }
    plans = plan_shards(planned, settings.shard_images)
    write_shards([p for split in plans.values() for p in split], dataset, instance)
    if instance.index > 0:
        return
    is_same_place = frozen is not None and frozen.folder.resolve() == frozen_out.resolve()
    if not is_same_place:
        clear_shards(frozen_out)
        write_shards(plans["test"], frozen_out, Instance())
        write_info(frozen_out, _info({"test": planned["test"]}, curation.classes, settings, {}))
    write_info(dataset, _info(planned, curation.classes, settings, _notes(planned, settings)))


def _plan(
    image: ScannedImage,
    split: str,
    merge: Merge,
    frozen: FrozenTest | None,
    settings: Settings,
) -> PlannedImage:
    voters = merge.annotators.get(image.sha256, ()) if split == "train" else ()
    provenance = "annotation" if voters else "raw"
    if split == "test" and frozen:
        provenance = frozen.records[image.sha256]["provenance"]
    limit = 2 * settings.image_size
    is_large = split == "train" and min(image.width, image.height) > limit
    return PlannedImage(
        ref=image.ref,
        sha256=image.sha256,
        extension=image.extension,
        class_name=image.class_name,
        source=image.source,
        provenance=provenance,
        annotator_ids=voters,
        shrink_to=limit if is_large else 0,
    )


def _info(
    planned: dict[str, list[PlannedImage]],
    classes: list[str],
    settings: Settings,
    notes: dict[str, Any],
) -> DatasetInfo:
    keys = {
        split: [(split, image.class_name or "", image.sha256) for image in images]
        for split, images in planned.items()
    }
    plans = plan_shards(planned, settings.shard_images)
    return DatasetInfo(
        classes=classes,
        counts={s: dict(sorted(Counter(k[1] for k in keys[s]).items())) for s in planned},
        shards={s: [f"{plan.name}.tar" for plan in plans[s]] for s in planned},
        fingerprint=fingerprint(key for split in keys.values() for key in split),
        test_fingerprint=fingerprint(keys["test"]),
        image_size=settings.image_size,
        notes=notes,
    )


def _notes(planned: dict[str, list[PlannedImage]], settings: Settings) -> dict[str, Any]:
    """Return figures about what is in the data set.

    Nothing about what was left out: a second run on the frozen test set leaves out
    other images, and its data set is the same to the byte.
    """
    train = planned["train"]
    return {
        "annotated_images": sum(image.provenance == "annotation" for image in train),
        "scaled_down_images": sum(image.shrink_to > 0 for image in train),
        "near_duplicate_bits": settings.near_duplicate_bits,
        "seed": settings.seed,
        "val_fraction": settings.val_fraction,
    }
