"""Split images by class so that near-duplicates stay on one side.

Which images are taken depends on their content and the seed alone, not on file names
or their order, so a few more images tomorrow move only a few.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from components.preprocess.near_duplicates import group_ids
from components.preprocess.scan import ScannedImage
from shared.vision.errors import DatasetError

Group = list[ScannedImage]


def split_off(
    images: Sequence[ScannedImage],
    fraction: float,
    bits: int,
    salt: str,
    pinned: Collection[str] = (),
) -> tuple[list[ScannedImage], list[ScannedImage]]:
    """Return (taken, rest): about `fraction` of each class, whole groups only.

    bits: see near_duplicates; a group's images never part.
    salt: purpose and seed; another salt takes others.
    pinned: sha256 of images that stay in the rest, with their groups.

    Raises:
        DatasetError: a class has fewer than two distinct pictures.
    """
    by_class: dict[str, list[Group]] = defaultdict(list)
    for group in near_duplicate_groups(images, bits):
        by_class[_main_class(group)].append(group)
    missing = {image.class_name or "" for image in images} - by_class.keys()
    for class_name in missing:  # all its images are near-duplicates of another class's
        by_class[class_name] = []
    taken: set[str] = set()
    for class_name, groups in sorted(by_class.items()):
        if len(groups) < 2:
            count = sum(image.class_name == class_name for image in images)
            raise DatasetError(
                f"preprocess: class '{class_name}' has {count} usable training images and "
                f"{len(groups)} distinct pictures to split; at least two are needed: add images "
                "or remove the class"
            )
        groups.sort(key=lambda group: _draw(group, salt))
        taken |= {image.sha256 for image in _take(groups, fraction, pinned)}
    return (
        [image for image in images if image.sha256 in taken],
        [image for image in images if image.sha256 not in taken],
    )


def near_duplicate_groups(images: Sequence[ScannedImage], bits: int) -> list[Group]:
    """Return the images in groups of near-duplicates; most groups have one image."""
    groups: dict[int, Group] = defaultdict(list)
    for image, number in zip(images, group_ids(images, bits), strict=True):
        groups[number].append(image)
    return list(groups.values())


def _take(groups: list[Group], fraction: float, pinned: Collection[str]) -> list[ScannedImage]:
    """Take whole groups in order without passing the target, one at least if any is free."""
    target = max(1, round(fraction * sum(map(len, groups))))
    free = [g for g in groups if not any(image.sha256 in pinned for image in g)]
    if len(free) == len(groups):
        free.pop()  # neither side may be empty
    taken: list[ScannedImage] = []
    for group in free:
        if len(taken) + len(group) <= target:
            taken += group
    return taken or min(free, key=len, default=[])


def _main_class(group: Group) -> str:
    votes = Counter(image.class_name or "" for image in group)
    return min(votes, key=lambda name: (-votes[name], name))


def _draw(group: Group, salt: str) -> str:
    """Return the group's lot; sorted, lots are a random order that content decides."""
    key = min(image.sha256 for image in group)
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()
