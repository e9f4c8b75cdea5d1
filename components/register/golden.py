"""Golden images: test images with the probabilities the packed model must answer.

The endpoint warms up on them and the smoke test after a deployment compares with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shared.component.files import write_json
from shared.vision.dataset import Split
from shared.vision.predictor import Predictor

_DECIMALS = 6


def write_golden(
    folder: Path, split: Split, predictor: Predictor, images: int, seed: int
) -> list[dict[str, Any]]:
    """Write images, the classes in turn, and golden.json with the expected answers."""
    chosen = _in_turn(split, seed)[:images]
    records = list(split.records())
    data = [split.read(int(i)) for i in chosen]
    expected = predictor.predict(data).probabilities
    folder.mkdir(parents=True)
    entries = []
    for index, image, probabilities in zip(chosen, data, expected, strict=True):
        record = records[index]
        name = f"{record['sha256'][:16]}.{record['extension']}"
        (folder / name).write_bytes(image)
        entries.append(
            {
                "file": name,
                "label": record["class_name"],
                "probabilities": [round(float(p), _DECIMALS) for p in probabilities],
            }
        )
    write_json(folder / "golden.json", {"classes": split.classes, "images": entries})
    return entries


def _in_turn(split: Split, seed: int) -> list[int]:
    """Order images so that the classes take turns, at random within each."""
    shuffled = np.random.default_rng(seed).permutation(len(split))
    by_class = [shuffled[split.labels[shuffled] == c] for c in range(len(split.classes))]
    longest = max(len(rows) for rows in by_class)
    return [int(rows[n]) for n in range(longest) for rows in by_class if n < len(rows)]
