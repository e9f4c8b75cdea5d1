"""Named augmentation policies, and custom ones from an albumentations JSON.

A policy turns a decoded image of any size into uint8 [size, size, 3]. The policies
model what happens to real photographs; each step's reason stands beside it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

# albumentations asks the network for a newer version of itself at every import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from shared.component.errors import UsageError
from shared.component.storage import download

Transform = A.BasicTransform | A.BaseCompose


def policy(name: str, size: int) -> A.Compose | None:
    """Return the policy `name` for images of `size` pixels; None for `none`.

    name: a key of POLICIES, or a file:// or s3:// location of an albumentations JSON
        (`albumentations.save`), whose output is resized to `size`.
    Raises:
        UsageError: no such policy, or the file is no albumentations JSON.
    """
    if name == "none":
        return None
    if "://" in name or name.endswith(".json"):
        return A.Compose([*_from_file(name), A.Resize(size, size, interpolation=cv2.INTER_AREA)])
    if name not in POLICIES:
        known = ", ".join(["none", *POLICIES])
        raise UsageError(
            f"train: augmentations '{name}' is unknown; choose one of {known}, or file://POLICY.json"
        )
    return A.Compose(list(POLICIES[name](size)))


def _crop(size: int, least: float) -> Transform:
    """Crop a random part: subjects differ in distance and place."""
    return A.RandomResizedCrop(
        size=(size, size), scale=(least, 1.0), ratio=(0.8, 1.25), interpolation=cv2.INTER_AREA
    )


def _light(size: int) -> Sequence[Transform]:
    return [_crop(size, 0.6), A.HorizontalFlip(p=0.5)]


def _medium(size: int) -> Sequence[Transform]:
    return [
        _crop(size, 0.35),
        A.HorizontalFlip(p=0.5),
        # other cameras and hours of the day
        A.ColorJitter(
            brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.6, 1.4), hue=(-0.04, 0.04)
        ),
        A.ToGray(p=0.05),
    ]


def _strong(size: int) -> Sequence[Transform]:
    return [
        _crop(size, 0.25),
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-15, 15), shear=(-8, 8), border_mode=cv2.BORDER_REFLECT_101, p=0.4),
        A.ColorJitter(
            brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.4, 1.6), hue=(-0.08, 0.08)
        ),
        A.ToGray(p=0.1),
        _occlusion(0.4),
    ]


def _realworld(size: int) -> Sequence[Transform]:
    return [
        _crop(size, 0.35),
        A.HorizontalFlip(p=0.5),
        # a camera held askew
        A.Affine(rotate=(-12, 12), border_mode=cv2.BORDER_REFLECT_101, p=0.3),
        A.Perspective(scale=(0.02, 0.08), p=0.2),
        # light and white balance
        A.ColorJitter(
            brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.5, 1.5), hue=(-0.05, 0.05)
        ),
        A.OneOf(  # weather
            [
                A.RandomFog(fog_coef_range=(0.1, 0.4), alpha_coef=0.08),
                A.RandomRain(slant_range=(-10, 10), brightness_coefficient=0.9, blur_value=3),
                A.RandomShadow(num_shadows_limit=(1, 2)),
                A.RandomSunFlare(flare_roi=(0, 0, 1, 0.5), src_radius=max(8, size // 4)),
            ],
            p=0.2,
        ),
        A.OneOf(  # a moving or badly focused camera
            [A.MotionBlur(blur_limit=(3, 7)), A.GaussianBlur(blur_limit=(3, 5)), A.Defocus((1, 3))],
            p=0.2,
        ),
        # a sensor in the dark
        A.OneOf([A.GaussNoise(std_range=(0.02, 0.12)), A.ISONoise()], p=0.25),
        # messengers and web pages compress
        A.ImageCompression(quality_range=(25, 90), p=0.3),
        _occlusion(0.25),
    ]


def _occlusion(p: float) -> Transform:
    """Cover parts: something stands in front of the subject."""
    return A.CoarseDropout(
        num_holes_range=(1, 3), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=p
    )


POLICIES: dict[str, Callable[[int], Sequence[Transform]]] = {
    "light": _light,
    "medium": _medium,
    "strong": _strong,
    "realworld": _realworld,
}


def _from_file(location: str) -> list[Transform]:
    with tempfile.TemporaryDirectory() as scratch:
        path = download(location, Path(scratch))
        try:
            loaded = A.load(str(path), data_format="json")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise UsageError(
                f"train: augmentations {location} is no albumentations JSON: {err}; "
                "write it with albumentations.save(compose, path)"
            ) from err
    return [loaded]
