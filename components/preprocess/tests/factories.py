"""Tiny distinct images, and raw folders of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DEFAULTS: dict[str, Any] = {
    "annotations": None,
    "frozen_test": "",
    "image_size": 16,
    "val_fraction": 0.2,
    "test_fraction": 0.25,
    "near_duplicate_bits": 4,
    "min_side": 24,
    "max_bad_fraction": 0.9,
    "shard_images": 7,
    "seed": 0,
}


def picture(seed: int, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Return a smooth random picture; two seeds are never near-duplicates."""
    knots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(knots).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=file_format, **options)
    return stream.getvalue()


class RawFolder:
    """A RawImages folder under construction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "raw.json").write_text("{}")

    def add(self, path: str, data: bytes) -> bytes:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return data

    def fill(self, split: str, classes: str = "sea street", count: int = 10) -> None:
        for number, class_name in enumerate(classes.split()):
            for index in range(count):
                seed = 1000 * number + index + (500 if split == "test" else 0)
                self.add(f"{split}/{class_name}/{index}.jpg", encoded(picture(seed)))
