"""A bundle as `register` packs it: golden images and a drift detector beside the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.component.files import write_json
from shared.vision.bundle import Bundle, write_bundle
from shared.vision.drift import DriftDetector
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import COLOURS, colour_image, make_bundle

WINDOW = 20
TEMPERATURE = 0.5  # far from 1: who takes probabilities for the network's own finds drift in it


def make_served_bundle(folder: Path, has_onnx: bool = False, golden: int = 3) -> Bundle:
    """Write a final bundle of the network that knows colours.

    As the pipeline does: the detector is fitted beside evaluate, which finds the temperature,
    and register puts both into the bundle that serves.
    """
    trained = make_bundle(folder, has_onnx=has_onnx)
    images = [colour_image(name, 500 + n) for n in range(30) for name in sorted(COLOURS)]
    said = Predictor(trained, threads=1).predict(images)
    DriftDetector.fit(said.embeddings, said.logits, 2, WINDOW, 0.01).save(folder / "detector")
    info = replace(trained.info, temperature=TEMPERATURE)
    answers = Predictor(replace(trained, info=info), threads=1).predict(images[:golden])
    (folder / "golden").mkdir()
    entries = []
    for number, image in enumerate(images[:golden]):
        name = f"{number}.png"
        (folder / "golden" / name).write_bytes(image)
        probabilities = [round(float(p), 6) for p in answers.probabilities[number]]
        label = info.classes[int(np.argmax(probabilities))]
        entries.append({"file": name, "label": label, "probabilities": probabilities})
    write_json(folder / "golden" / "golden.json", {"classes": info.classes, "images": entries})
    return write_bundle(folder, info)
