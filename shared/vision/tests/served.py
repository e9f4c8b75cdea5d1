"""A bundle as `register` packs it: golden images and a drift detector beside the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.component.files import write_json
from shared.vision.bundle import Bundle, write_bundle
from shared.vision.drift import DriftDetector
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import COLOURS, colour_image, make_bundle

WINDOW = 20


def make_served_bundle(folder: Path, has_onnx: bool = False, golden: int = 3) -> Bundle:
    """Write a final bundle of the network that knows colours."""
    bundle = make_bundle(folder, has_onnx=has_onnx)
    predictor = Predictor(bundle, threads=1)
    images = [colour_image(name, 500 + n) for n in range(30) for name in sorted(COLOURS)]
    said = predictor.predict(images)
    DriftDetector.fit(said.embeddings, said.probabilities, 2, WINDOW, 0.01).save(
        folder / "detector"
    )
    (folder / "golden").mkdir()
    entries = []
    for number, image in enumerate(images[:golden]):
        name = f"{number}.png"
        (folder / "golden" / name).write_bytes(image)
        probabilities = [round(float(p), 6) for p in said.probabilities[number]]
        label = bundle.info.classes[int(np.argmax(probabilities))]
        entries.append({"file": name, "label": label, "probabilities": probabilities})
    write_json(
        folder / "golden" / "golden.json", {"classes": bundle.info.classes, "images": entries}
    )
    return write_bundle(folder, bundle.info)
