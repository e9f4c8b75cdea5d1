"""Decide which split every image belongs to: the whole story in one function."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.preprocess import annotations as people
from components.preprocess.frozen import FrozenTest
from components.preprocess.rules import Findings, check_classes, distinct, usable, without_leaks
from components.preprocess.scan import Candidate, ImageRef, ScannedImage, scan
from components.preprocess.splits import near_duplicate_groups, split_off
from shared.vision.errors import DatasetError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """The parameters of component.yaml that decide what becomes of the images."""

    image_size: int
    val_fraction: float
    test_fraction: float
    near_duplicate_bits: int
    min_side: int
    max_bad_fraction: float
    shard_images: int
    seed: int


@dataclass(frozen=True)
class Curation:
    """The images of each split, and all that was found on the way."""

    splits: dict[str, list[ScannedImage]]
    findings: Findings
    merge: people.Merge
    groups: list[list[ScannedImage]]

    @property
    def classes(self) -> list[str]:
        """Return the class names, sorted: their order is the model's."""
        return sorted({image.class_name or "" for image in self.splits["train"]})


def curate(
    raw: Path, annotations: Path | None, frozen: FrozenTest | None, settings: Settings
) -> Curation:
    """Look at all images and decide which split each belongs to.

    Raises:
        DatasetError: the data cannot train or measure a classifier.
    """
    answers = people.read_answers(annotations)
    found = [*list_raw(raw), *people.candidates(answers)]
    scanned = scan(found, settings.min_side)
    findings = Findings()
    bits = settings.near_duplicate_bits
    good = usable(
        [i for i in scanned if i.role != "annotation"], settings.max_bad_fraction, findings
    )
    train = distinct(_of_role(good, "train"), bits, findings)
    test, train = _test_split(train, _of_role(good, "test"), frozen, settings, findings)
    train = without_leaks(train, test, bits, findings.leaks)
    annotated = {image.ref.path: image for image in _of_role(scanned, "annotation")}
    train, merged = people.merge(train, test, annotated, answers, bits)
    check_classes(_classes(train), _classes(test), frozen.classes if frozen else None)
    val, train = split_off(
        train, settings.val_fraction, bits, f"val:{settings.seed}", pinned=merged.annotators.keys()
    )
    unlabelled = _fresh(_of_role(good, "unlabelled"), [*train, *val, *test])
    splits = {"train": train, "val": val, "test": test, "unlabelled": unlabelled}
    groups = [g for g in near_duplicate_groups([*train, *val], bits) if len(g) > 1]
    curation = Curation(splits, findings, merged, groups)
    _tell(curation)
    return curation


def list_raw(raw: Path) -> list[Candidate]:
    """Return what fetch_data laid out, in the order of names.

    Raises:
        DatasetError: the folder is unfinished or holds no training images.
    """
    if not (raw / "raw.json").is_file():
        raise DatasetError(
            f"preprocess: no raw.json in {raw}: fetch_data did not finish there, or never ran; "
            "run `python -m components.fetch_data --train YOUR_IMAGES --raw FOLDER`"
        )
    found = []
    for split in ("train", "test", "unlabelled"):
        for path in sorted((raw / split).rglob("*")):
            if path.is_file():
                class_name = None if split == "unlabelled" else path.parent.name
                source = path.relative_to(raw).as_posix()
                found.append(Candidate(ImageRef(str(path)), split, class_name, source))
    if not any(candidate.role == "train" for candidate in found):
        raise DatasetError(f"preprocess: no training images in {raw / 'train'}; set TrainDataset")
    return found


def _test_split(
    train: list[ScannedImage],
    raw_test: list[ScannedImage],
    frozen: FrozenTest | None,
    settings: Settings,
    findings: Findings,
) -> tuple[list[ScannedImage], list[ScannedImage]]:
    """Return (test, train): frozen, or as the data brings it, or split off."""
    bits = settings.near_duplicate_bits
    if frozen:
        findings.left_out += [i for i in raw_test if i.sha256 not in frozen.records]
        return frozen.images, train
    if raw_test:
        return distinct(raw_test, bits, findings), train
    return split_off(train, settings.test_fraction, bits, f"test:{settings.seed}")


def _fresh(images: Sequence[ScannedImage], used: Iterable[ScannedImage]) -> list[ScannedImage]:
    """Return each image once, without those that have a place in a labelled split."""
    taken = {image.sha256 for image in used}
    return list({image.sha256: image for image in images if image.sha256 not in taken}.values())


def _tell(curation: Curation) -> None:
    found = curation.findings
    log.info(
        "quarantined=%d duplicates=%d conflicts=%d leaks=%d left_out_test=%d converted=%d",
        *(len(found.quarantined), len(found.duplicates), len(found.conflicts)),
        *(len(found.leaks), len(found.left_out), len(found.converted)),
    )
    if curation.merge.counts:
        counts = sorted(curation.merge.counts.items())
        log.info("annotations: %s", ", ".join(f"{name} {count}" for name, count in counts))
    for split, images in curation.splits.items():
        log.info("%s_images=%d", split, len(images))


def _of_role(images: Iterable[ScannedImage], role: str) -> list[ScannedImage]:
    return [image for image in images if image.role == role]


def _classes(images: Iterable[ScannedImage]) -> list[str]:
    return sorted({image.class_name or "" for image in images})
