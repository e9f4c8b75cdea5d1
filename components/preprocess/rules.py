"""Decide which images are used, and say why the others are not.

The rules, in order: unusable images are quarantined; of equal images one is kept; a
picture under two labels is dropped under both; what equals or nearly equals a test
image leaves the training images. The test set itself never changes once frozen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from components.preprocess.near_duplicates import near_to, same_picture_pairs
from components.preprocess.scan import ScannedImage
from shared.vision.errors import DatasetError

Pair = tuple[ScannedImage, ScannedImage]


@dataclass
class Findings:
    """What was found wrong; every list holds the images themselves for the report.

    duplicates: (kept, dropped).
    leaks: (training image, test image it equals or nearly equals).
    left_out: raw test images that the frozen test set does not hold.
    """

    quarantined: list[ScannedImage] = field(default_factory=list)
    converted: list[ScannedImage] = field(default_factory=list)
    duplicates: list[Pair] = field(default_factory=list)
    conflicts: list[tuple[ScannedImage, ...]] = field(default_factory=list)
    leaks: list[Pair] = field(default_factory=list)
    left_out: list[ScannedImage] = field(default_factory=list)


def usable(
    images: Sequence[ScannedImage], max_bad_fraction: float, findings: Findings
) -> list[ScannedImage]:
    """Return the images that decode.

    Raises:
        DatasetError: more than `max_bad_fraction` of them do not.
    """
    findings.quarantined += [image for image in images if image.problem]
    good = _with_odd_sizes([image for image in images if not image.problem])
    findings.converted += [image for image in good if image.conversions]
    bad = len(findings.quarantined)
    if bad > max_bad_fraction * len(images):
        worst = findings.quarantined[0]
        raise DatasetError(
            f"preprocess: {bad} of {len(images)} images are unusable, more than "
            f"{max_bad_fraction:.0%}, the first {worst.source} ({worst.problem}); "
            "repair the data or raise max_bad_fraction"
        )
    return good


def _with_odd_sizes(images: list[ScannedImage]) -> list[ScannedImage]:
    """Note the images that differ in size where most images have one and the same."""
    sizes = Counter((image.width, image.height) for image in images)
    (usual, count), *_ = sizes.most_common(1) or [((0, 0), 0)]
    if 2 * count <= len(images):
        return images  # sizes vary by nature: none is odd
    return [
        image
        if (image.width, image.height) == usual
        else replace(image, conversions=(*image.conversions, "odd size"))
        for image in images
    ]


def distinct(
    images: Sequence[ScannedImage], near_duplicate_bits: int, findings: Findings
) -> list[ScannedImage]:
    """Return one image of each set of equals, and none that has two labels."""
    by_hash: dict[str, list[ScannedImage]] = defaultdict(list)
    for image in images:
        by_hash[image.sha256].append(image)
    kept = []
    for equals in by_hash.values():
        if len({image.class_name for image in equals}) > 1:
            findings.conflicts.append(tuple(equals))
            continue
        kept.append(equals[0])
        findings.duplicates += [(equals[0], other) for other in equals[1:]]
    return _without_relabelled_copies(kept, near_duplicate_bits, findings)


def _without_relabelled_copies(
    images: list[ScannedImage], bits: int, findings: Findings
) -> list[ScannedImage]:
    """Drop pictures that were saved twice, under two labels."""
    dropped: set[int] = set()
    for first, second in same_picture_pairs(images, bits):
        if images[first].class_name != images[second].class_name:
            findings.conflicts.append((images[first], images[second]))
            dropped |= {first, second}
    return [image for index, image in enumerate(images) if index not in dropped]


def without_leaks(
    images: Sequence[ScannedImage],
    test: Sequence[ScannedImage],
    near_duplicate_bits: int,
    leaks: list[Pair],
) -> list[ScannedImage]:
    """Return the images that neither equal nor nearly equal a test image."""
    near = near_to(images, test, near_duplicate_bits)
    by_hash = {image.sha256: index for index, image in enumerate(test)}
    near |= {i: by_hash[image.sha256] for i, image in enumerate(images) if image.sha256 in by_hash}
    leaks += [(images[index], test[other]) for index, other in sorted(near.items())]
    return [image for index, image in enumerate(images) if index not in near]


def check_classes(train: Sequence[str], test: Sequence[str], frozen: Sequence[str] | None) -> None:
    """Refuse classes that cannot be learnt or measured.

    Raises:
        DatasetError: training and test images, or the frozen test set and the data,
            have different classes, or there are fewer than two.
    """
    if frozen is not None and set(frozen) != set(train):
        raise DatasetError(
            f"preprocess: the frozen test set has classes {_listed(frozen)}, the data "
            f"{_listed(train)}; another problem takes another --name, or another FrozenTest"
        )
    if len(set(train)) < 2:
        raise DatasetError(
            f"preprocess: training images have {len(set(train))} class: {_listed(train)}; "
            "a classifier tells at least two apart: give one folder per class"
        )
    for name, other, missing in (
        ("test", "training", set(test) - set(train)),
        ("training", "test", set(train) - set(test)),
    ):
        if missing:
            raise DatasetError(
                f"preprocess: class {_listed(missing)} has {name} images but no usable {other} "
                f"images; add some or remove the class (training: {_listed(train)})"
            )


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"
