"""Golden images: packed with the bundle, each with the answer the model must give.

`register` writes them; a worker that warms up, the smoke test after a deployment and
the endpoint's tests compare with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.vision.bundle import Bundle
from shared.vision.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Engines agree to 1e-4 on one machine; another machine's vector units add their share.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class GoldenImage:
    """An encoded image and what it must be answered with.

    probabilities: in the bundle's order of classes.
    """

    name: str
    data: bytes
    label: str
    probabilities: tuple[float, ...]


def read_golden(bundle: Bundle) -> list[GoldenImage]:
    """Return the bundle's golden images; none for a bundle that `register` has not packed.

    Raises:
        BundleError: golden.json names other classes than the bundle.
    """
    folder = bundle.folder / "golden"
    if not _lists(bundle, folder / "golden.json"):
        return []
    document = json.loads((folder / "golden.json").read_text())
    if tuple(document["classes"]) != bundle.info.classes:
        raise BundleError("bundle: its golden images are of other classes; register it again")
    return [
        GoldenImage(
            entry["file"],
            (folder / entry["file"]).read_bytes(),
            entry["label"],
            tuple(entry["probabilities"]),
        )
        for entry in document["images"]
    ]


def check_golden(
    golden: Sequence[GoldenImage],
    answer: Callable[[bytes], npt.NDArray[np.float32]],
    tolerance: float = TOLERANCE,
) -> float:
    """Compare answers with the expected ones and return the largest difference.

    answer: returns the probabilities of one encoded image, float [classes].
    Raises:
        BundleError: an answer differs by more than `tolerance`.
    """
    largest = 0.0
    for image in golden:
        given = answer(image.data)
        if given.shape != (len(image.probabilities),):
            raise BundleError(
                f"golden image {image.name}: {given.size} probabilities instead of "
                f"{len(image.probabilities)}; this is another model"
            )
        difference = float(abs(given - image.probabilities).max())
        if not difference <= tolerance:  # also true for NaN
            raise BundleError(
                f"golden image {image.name}: answered {difference:.2g} off the expected "
                f"probabilities (at most {tolerance:g}); the bundle or its engine is damaged"
            )
        largest = max(largest, difference)
    return largest


def _lists(bundle: Bundle, path: Path) -> bool:
    return str(path.relative_to(bundle.folder)) in bundle.info.files
