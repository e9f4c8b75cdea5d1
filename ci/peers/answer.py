"""What every peer answers with: the same predictor, the same JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

from shared.vision import answers
from shared.vision.bundle import open_bundle
from shared.vision.payload import Options
from shared.vision.predictor import Predictor


def load_predictor(bundle: str | None = None) -> Predictor:
    """Load the bundle that PEER_BUNDLE names."""
    import torch

    torch.set_num_threads(1)
    with open_bundle(Path(bundle or os.environ["PEER_BUNDLE"])) as opened:
        return Predictor(opened, threads=1)


def answer(predictor: Predictor, image: bytes) -> bytes:
    """Return the JSON of one encoded image."""
    said = predictor.predict([image])
    documents = answers.predictions(predictor.classes, said.probabilities, Options())
    return json.dumps({"predictions": documents}).encode()
