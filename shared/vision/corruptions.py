"""What happens to photographs, each in five severities: for robustness and drift power.

A corruption works on pixels as the model sees them: uint8 [size, size, 3] in and out.
Kinds and the idea of five severities: Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", 2019; the strengths here
are our own, for images of about 128 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

# albumentations asks the network for a newer version of itself at every import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

Pixels = npt.NDArray[np.uint8]
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(pixels: Pixels, kind: str, severity: int, seed: int) -> Pixels:
    """Return a corrupted copy of one image.

    kind: a key of KINDS.
    severity: 1 (slight) to 5 (hard for a person as well).
    """
    transform = A.Compose([KINDS[kind](severity - 1, pixels.shape[0])], seed=seed)
    return np.asarray(transform(image=pixels)["image"], dtype=np.uint8)


def _gaussian_noise(level: int, _side: int) -> A.BasicTransform:
    deviation = (0.03, 0.06, 0.1, 0.15, 0.22)[level]
    return A.GaussNoise(std_range=(deviation, deviation), p=1)


def _gaussian_blur(level: int, side: int) -> A.BasicTransform:
    sigma = (0.6, 1.0, 1.5, 2.2, 3.2)[level] * side / 128
    return A.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1)


def _motion_blur(level: int, side: int) -> A.BasicTransform:
    length = _odd((3, 5, 9, 13, 19)[level] * side / 128)
    return A.MotionBlur(blur_limit=(length, length), allow_shifted=False, p=1)


def _bright(level: int, _side: int) -> A.BasicTransform:
    return _brightness((0.1, 0.2, 0.3, 0.4, 0.5)[level])


def _dark(level: int, _side: int) -> A.BasicTransform:
    return _brightness(-(0.1, 0.2, 0.3, 0.4, 0.5)[level])


def _low_contrast(level: int, _side: int) -> A.BasicTransform:
    lost = (0.3, 0.45, 0.6, 0.75, 0.88)[level]
    # the transform scales towards black; half of what is lost brings mid-grey back
    return A.RandomBrightnessContrast(
        brightness_limit=(lost / 2, lost / 2), contrast_limit=(-lost, -lost), p=1
    )


def _jpeg(level: int, _side: int) -> A.BasicTransform:
    quality = (40, 25, 15, 9, 5)[level]
    return A.ImageCompression(quality_range=(quality, quality), p=1)


def _pixelate(level: int, _side: int) -> A.BasicTransform:
    scale = (0.7, 0.5, 0.35, 0.25, 0.18)[level]
    coarse = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_NEAREST}
    return A.Downscale(scale_range=(scale, scale), interpolation_pair=coarse, p=1)


def _rain(level: int, side: int) -> A.BasicTransform:
    dim = (0.95, 0.85, 0.75, 0.65, 0.5)[level]
    return A.RandomRain(
        drop_length=max(3, (4, 8, 14, 22, 32)[level] * side // 128),
        drop_width=1,
        blur_value=(1, 1, 1, 1, 3)[level],
        brightness_coefficient=dim,
        rain_type="default",
        p=1,
    )


def _snow(level: int, _side: int) -> A.BasicTransform:
    amount = (0.15, 0.3, 0.45, 0.6, 0.8)[level]
    return A.RandomSnow(snow_point_range=(amount, amount), method="bleach", p=1)


def _rotation(level: int, _side: int) -> A.BasicTransform:
    angle = (5, 10, 20, 30, 45)[level]
    return A.Affine(rotate=(angle, angle), border_mode=cv2.BORDER_REFLECT_101, p=1)


def _occlusion(level: int, _side: int) -> A.BasicTransform:
    share = (0.15, 0.25, 0.35, 0.45, 0.6)[level]
    return A.CoarseDropout(
        num_holes_range=(1, 1),
        hole_height_range=(share, share),
        hole_width_range=(share, share),
        p=1,
    )


KINDS: dict[str, Callable[[int, int], A.BasicTransform]] = {
    "gaussian noise": _gaussian_noise,
    "gaussian blur": _gaussian_blur,
    "motion blur": _motion_blur,
    "bright": _bright,
    "dark": _dark,
    "low contrast": _low_contrast,
    "jpeg": _jpeg,
    "pixelate": _pixelate,
    "rain": _rain,
    "snow": _snow,
    "rotation": _rotation,
    "occlusion": _occlusion,
}


def _brightness(change: float) -> A.BasicTransform:
    return A.RandomBrightnessContrast(brightness_limit=(change, change), contrast_limit=(0, 0), p=1)


def _odd(length: float) -> int:
    return max(3, 2 * round((length - 1) / 2) + 1)
