"""Golden images: test images with the probabilities the packed model must answer.

The endpoint warms up on them and the smoke test after a deployment compares with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
