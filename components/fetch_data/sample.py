"""The generated data set behind sample://scenes: Kaggle's layout and its flaws.

    sample://scenes?images=600&test=180&seed=0&size=96

The same address gives the same bytes. A few flaws of real data sets are planted, so
that a first run shows what preprocess does about them.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from PIL import Image

from components.fetch_data.scenes import SCENES, draw_scene
from shared.component.errors import UsageError
from shared.component.progress import track

_LIMITS = {"images": (12, 200_000), "test": (0, 100_000), "unlabelled": (0, 100_000)}
_LIMITS |= {"seed": (0, 2**32 - 1), "size": (32, 512)}


@dataclass(frozen=True)
class SampleRequest:
    """How many images of which side in pixels; `test` and `unlabelled` may be 0."""

    images: int = 600
    test: int = 180
    unlabelled: int = 60
    seed: int = 0
    size: int = 96

    @classmethod
    def parse(cls, uri: str) -> SampleRequest:
        """Read sample://scenes?...

        Raises:
            UsageError: an unknown sample or key, or a number out of its range.
        """
        parts, known = urlsplit(uri), [field.name for field in fields(cls)]
        if parts.netloc != "scenes":
            raise UsageError(f"fetch_data: unknown sample {uri}; there is sample://scenes")
        values = {}
        for key, text in parse_qsl(parts.query, keep_blank_values=True):
            if key not in known:
                raise UsageError(f"fetch_data: {uri}: unknown key '{key}'; use {', '.join(known)}")
            low, high = _LIMITS[key]
            if not (text.isdecimal() and low <= int(text) <= high):
                raise UsageError(
                    f"fetch_data: {uri}: {key} is {text!r}; give a whole number "
                    f"from {low} to {high}"
                )
            values[key] = int(text)
        return cls(**values)


@dataclass(frozen=True)
class _Picture:
    """A picture to be drawn; its seed makes it independent of all others."""

    path: Path
    class_name: str
    seed: tuple[int, int]


def write_sample(request: SampleRequest, folder: Path) -> Path:
    """Draw the data set into `folder`, using every core, and return it."""
    pictures = list(_plan(request, folder))
    for parent in {picture.path.parent for picture in pictures}:
        parent.mkdir(parents=True)
    draw = partial(_write, size=request.size)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(draw, pictures, chunksize=16)
        for _ in track(done, len(pictures), "images", "draw"):
            pass
    _plant_flaws(folder, request)
    return folder


def _plan(request: SampleRequest, folder: Path) -> list[_Picture]:
    """Return what to draw; every picture has a random stream of its own."""
    classes = sorted(SCENES)
    counts = {"train": request.images, "test": request.test, "pred": request.unlabelled}
    plan: list[_Picture] = []
    for split, count in counts.items():
        for number in range(count):
            class_name = classes[number % len(classes)]
            parent = folder / f"seg_{split}" / (class_name if split != "pred" else "")
            seed = (request.seed, len(plan))
            plan.append(_Picture(parent / f"{len(plan):05d}.jpg", class_name, seed))
    return plan


def _write(picture: _Picture, size: int) -> None:
    rng = np.random.default_rng(picture.seed)
    image = draw_scene(picture.class_name, size, rng)
    image.save(picture.path, quality=int(rng.integers(80, 96)))


def _plant_flaws(folder: Path, request: SampleRequest) -> None:
    """Spoil a few files the way real data sets are spoilt."""
    train, test = folder / "seg_train", folder / "seg_test"
    sea, forest, street = (_images(train / name) for name in ("sea", "forest", "street"))
    (train / "sea" / "copy.jpg").write_bytes(sea[0].read_bytes())
    half = street[0].read_bytes()
    (train / "street" / "truncated.jpg").write_bytes(half[: len(half) // 2])
    (train / "mountain" / "two-labels.jpg").write_bytes(_images(train / "glacier")[0].read_bytes())
    if request.test >= len(SCENES):
        (train / "forest" / "leak.jpg").write_bytes(_images(test / "forest")[0].read_bytes())
    with Image.open(io.BytesIO(forest[0].read_bytes())) as image:
        image.convert("L").save(forest[0], quality=90)
    with Image.open(io.BytesIO(sea[1].read_bytes())) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to view
        image.rotate(90, expand=True).save(sea[1], quality=90, exif=exif)


def _images(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jpg"))
