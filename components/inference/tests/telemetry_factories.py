"""Records and detectors for the telemetry's tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.inference.records import AnswerRecord, ImageRecord, RequestRecord, pack
from shared.vision.drift import DriftDetector

CLASSES = ("cat", "dog", "owl")
WINDOW = 50


def an_image(**changes: object) -> ImageRecord:
    fields: dict[str, object] = {
        "sha256": "",
        "format": "JPEG",
        "width": 150,
        "height": 100,
        "bytes": 5000,
        "label": "cat",
        "confidence": 0.9,
        "entropy": 0.3,
        "probabilities": packed(0.9, 0.06, 0.04),
    }
    return ImageRecord(**(fields | changes))


def an_answer(*images: ImageRecord, request_id: str = "r1", **changes: object) -> AnswerRecord:
    phases = {"queue": 0.1, "decode": 0.3, "forward": 1.5, "encode": 0.05}
    fields: dict[str, object] = {"time": 1000.5, "model_version": "7", "phases_ms": phases}
    return AnswerRecord(request_id=request_id, images=images or (an_image(),), **(fields | changes))


def a_request(**changes: object) -> RequestRecord:
    fields: dict[str, object] = {
        "time": 1000.5,
        "request_id": "r1",
        "status": 200,
        "error": "",
        "total_ms": 3.5,
        "bytes_in": 5000,
        "content_type": "image/jpeg",
    }
    return RequestRecord(**(fields | changes))


def packed(*values: float) -> str:
    return pack(np.array(values, np.float32))


def embedding(size: int) -> str:
    return pack(np.ones(size, np.float16))


def world(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings [count, 6] and logits [count, 3]; `shift` moves the embeddings."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(shift, 1, (count, 6)).astype(np.float32)
    probabilities = generator.dirichlet(np.ones(len(CLASSES)), count)
    return embeddings, np.log(probabilities).astype(np.float32)


def a_bundle(folder: Path) -> DriftDetector:
    """Write what the collector reads of a bundle; return its detector."""
    detector = DriftDetector.fit(*world(400, 1), components=4, window=WINDOW, significance=0.001)
    detector.save(folder / "detector")
    (folder / "bundle.json").write_text(json.dumps({"classes": CLASSES}))
    return detector


def rows_of(
    detector: DriftDetector, count: int, seed: int, shift: float = 0.0
) -> list[list[float]]:
    return detector.features(*world(count, seed, shift)).tolist()


def wait_for(condition: Callable[[], object], timeout_s: float = 150.0) -> object:
    """Return what `condition` gives once it is true; fail after the timeout.

    A drift test runs when nobody else wants the processor, which on a busy machine is late.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {timeout_s} s: {condition}"
        time.sleep(0.01)
    return value
