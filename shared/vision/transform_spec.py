"""What describes the way from an image to the model's input; transforms.py goes it.

Apart from it, so that a process that only reads a bundle's description loads no NumPy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TransformSpec:
    """How an image becomes a tensor.

    resize_side: pixels of the shorter side after resizing, before the centre crop.
    mean, std: per channel, for pixel values in [0, 1].
    """

    image_size: int
    resize_side: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> TransformSpec:
        fields = document | {"mean": tuple(document["mean"]), "std": tuple(document["std"])}
        return cls(**fields)
