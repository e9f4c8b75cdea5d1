"""Are the probabilities true? ECE, reliability diagram, temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from shared.vision.predictor import softmax

BINS = 15  # Guo et al., 2017
# Beyond these a few validation images would decide everything (all right: 0).
_TEMPERATURES = (0.25, 4.0)


@dataclass(frozen=True)
class Reliability:
    """One reliability diagram.

    ece: expected calibration error in [0, 1].
    confidence, accuracy: mean per bin, NaN where empty; images: count per bin.
    """

    ece: float
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    images: npt.NDArray[np.int64]


def fit_temperature(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the least cross entropy on validation images.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    z, y = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    log_temperature = torch.zeros(1, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(z / log_temperature.exp(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(np.clip(log_temperature.exp().item(), *_TEMPERATURES))


def reliability(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float
) -> Reliability:
    """Measure calibration at a temperature, in 15 bins of equal width."""
    probabilities = softmax(logits / temperature)
    confidence, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    ece = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(labels),
        num_classes=probabilities.shape[1],
        n_bins=BINS,
    )
    bin_of = np.minimum((confidence * BINS).astype(int), BINS - 1)
    images = np.bincount(bin_of, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return Reliability(
            ece=float(ece),
            confidence=np.bincount(bin_of, confidence, BINS) / images,
            accuracy=np.bincount(bin_of, is_right, BINS) / images,
            images=images,
        )
