"""The one predictor: bytes -> pixels -> forward -> temperature -> probabilities.

Evaluation, explanation, drift detection and serving all answer through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from shared.component.progress import track
from shared.vision.bundle import Bundle
from shared.vision.errors import BundleError
from shared.vision.script import load_script
from shared.vision.transforms import TransformSpec, decode_pixels, normalise

BATCH_SIZE = 64


@dataclass(frozen=True)
class Predictions:
    """What the model says of n images.

    logits: float32 [n, classes], before the temperature.
    probabilities: float32 [n, classes], rows sum to one, classes in the bundle's order.
    embeddings: float32 [n, embedding_size], penultimate layer.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Join predictions of consecutive batches."""
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.embeddings for part in parts]),
        )

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Index of the most probable class, int64 [n]."""
        labels: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return labels

    @property
    def confidences(self) -> npt.NDArray[np.float32]:
        confidences: npt.NDArray[np.float32] = self.probabilities.max(axis=1)
        return confidences


class Predictor:
    """A bundle, ready to answer; always in evaluation mode."""

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        self.classes: tuple[str, ...] = bundle.info.classes
        self.transform: TransformSpec = bundle.info.transform
        self.temperature: float = bundle.info.temperature
        self.device = torch.device(device)
        self.module: torch.jit.ScriptModule = _load(bundle, self.device)

    def predict(self, images: Sequence[bytes]) -> Predictions:
        """Answer for encoded images of any size.

        Raises:
            ImageError: one of them is no image this system takes.
        """
        return self.predict_pixels(
            np.stack([decode_pixels(data, self.transform) for data in images])
        )

    def predict_all(
        self, read: Callable[[int], bytes], count: int, label: str = "predicting"
    ) -> Predictions:
        """Answer for images 0 .. count-1 in batches, with progress; memory stays level."""
        starts = range(0, count, BATCH_SIZE)
        return Predictions.concatenate(
            [
                self.predict([read(i) for i in range(s, min(s + BATCH_SIZE, count))])
                for s in track(starts, len(starts), "batches", label)
            ]
        )

    def predict_pixels(self, pixels: npt.NDArray[np.uint8]) -> Predictions:
        """Answer for decoded images: uint8 [n, size, size, 3], any n."""
        return Predictions.concatenate([self._forward(batch) for batch in _batches(pixels)])

    def _forward(self, pixels: npt.NDArray[np.uint8]) -> Predictions:
        if self.module.training:
            raise BundleError("predictor: the model is in training mode; call eval()")
        images = torch.from_numpy(normalise(pixels, self.transform)).to(self.device)
        with torch.inference_mode():
            logits, embeddings = (part.float().cpu().numpy() for part in self.module(images))
        return Predictions(logits, softmax(logits / self.temperature), embeddings)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def _load(bundle: Bundle, device: torch.device) -> torch.jit.ScriptModule:
    module = load_script(bundle.script, device)
    size, classes = bundle.info.transform.image_size, len(bundle.info.classes)
    with torch.inference_mode():
        logits, _ = module(torch.zeros(1, 3, size, size, device=device))
    if logits.shape != (1, classes):
        raise BundleError(
            f"bundle: the model answers with {logits.shape[1]} classes, "
            f"bundle.json names {classes}; train again"
        )
    return module


def _batches(pixels: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(pixels), BATCH_SIZE):
        yield pixels[start : start + BATCH_SIZE]
