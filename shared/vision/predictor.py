"""The one predictor: bytes -> pixels -> forward -> temperature -> probabilities.

Evaluation, explanation, drift detection and serving all answer through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.component.progress import track
from shared.vision.bundle import Bundle
from shared.vision.engines import Engine, TorchScriptEngine, open_engine
from shared.vision.errors import BundleError
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import decode_pixels, normalise

if TYPE_CHECKING:
    import torch

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

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        engine: str = "torchscript",
        threads: int | None = None,
        is_frozen: bool = False,
    ) -> None:
        """Open the bundle's network.

        engine, threads, is_frozen: as `open_engine` takes them.
        Raises:
            BundleError: the bundle is unfit for the engine, or answers otherwise than it says.
        """
        self.classes: tuple[str, ...] = bundle.info.classes
        self.transform: TransformSpec = bundle.info.transform
        self.temperature: float = bundle.info.temperature
        self.engine: Engine = open_engine(bundle, engine, device, threads, is_frozen)

    @property
    def module(self) -> torch.jit.ScriptModule:
        """Return the script module, for gradients and activations.

        Raises:
            BundleError: another engine answers.
        """
        if not isinstance(self.engine, TorchScriptEngine):
            raise BundleError(
                f"predictor: the {self.engine.name} engine has no module; choose engine torchscript"
            )
        return self.engine.module

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
        images = normalise(pixels, self.transform, self.engine.is_channels_last)
        logits, embeddings = self.engine.forward(images)
        return Predictions(logits, softmax(logits / self.temperature), embeddings)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def _batches(pixels: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(pixels), BATCH_SIZE):
        yield pixels[start : start + BATCH_SIZE]
