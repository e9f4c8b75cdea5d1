"""Golden images: test images with the probabilities the packed model must answer.

The endpoint warms up on them and the smoke test after a deployment compares with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from shared.component.files import write_json
from shared.vision.dataset import Split, classes_in_turn
from shared.vision.predictor import Predictor

_DECIMALS = 6


def write_golden(
    folder: Path, split: Split, predictor: Predictor, images: int, seed: int
) -> list[dict[str, Any]]:
    """Write images, the classes in turn, and golden.json with the expected answers."""
    chosen = classes_in_turn(split.labels, seed)[:images]
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


def golden_difference(folder: Path, predictor: Predictor) -> float:
    """Return the largest difference of a probability from the expected answers."""
    entries = json.loads((folder / "golden.json").read_text())["images"]
    said = predictor.predict([(folder / entry["file"]).read_bytes() for entry in entries])
    expected = np.array([entry["probabilities"] for entry in entries])
    return float(np.abs(said.probabilities - expected).max())
