"""Accuracy when photographs go wrong, and when somebody means harm."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from captum.robust import FGSM, PGD
from torch import Tensor, nn

from shared.component.progress import track
from shared.vision.corruptions import KINDS, SEVERITIES, corrupt
from shared.vision.predictor import BATCH_SIZE, Predictor
from shared.vision.transforms import normalisation

# Largest change of a pixel value, of 255: 1 is invisible, 8 is seen by those who look.
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0)
_PGD_STEPS = 7  # Madry et al., 2018, on small images


@dataclass(frozen=True)
class Robustness:
    """Accuracies under corruption and attack, on samples of the test set.

    corruptions: by kind, one accuracy per severity 1..5.
    attacks: by name, one accuracy per entry of EPSILONS.
    clean, attacked_clean: accuracy on the same samples, untouched.
    """

    corruptions: dict[str, list[float]]
    clean: float
    images: int
    attacks: dict[str, list[float]]
    attacked_clean: float
    attacked_images: int

    @property
    def mean_corruption_accuracy(self) -> float:
        return float(np.mean(list(self.corruptions.values())))

    @property
    def relative(self) -> float:
        """Mean accuracy under corruption over clean accuracy."""
        return self.mean_corruption_accuracy / self.clean if self.clean else 0.0


def measure(
    predictor: Predictor,
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    attack_images: int,
    seed: int,
) -> Robustness:
    """Corrupt all of `pixels`, attack the first `attack_images` of them.

    pixels: uint8 [n, size, size, 3], prepared test images; labels: int64 [n].
    """
    attacked, attacked_labels = pixels[:attack_images], labels[:attack_images]
    return Robustness(
        corruptions=_corruptions(predictor, pixels, labels, seed),
        clean=_accuracy(predictor, pixels, labels),
        images=len(pixels),
        attacks=_attacks(predictor, attacked, attacked_labels, seed),
        attacked_clean=_accuracy(predictor, attacked, attacked_labels),
        attacked_images=len(attacked),
    )


def _corruptions(
    predictor: Predictor, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int
) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cases = [(kind, severity) for kind in KINDS for severity in SEVERITIES]
    for kind, severity in track(cases, len(cases), "corruptions"):
        corrupted = np.stack(
            [corrupt(image, kind, severity, seed + i) for i, image in enumerate(pixels)]
        )
        curves[kind].append(_accuracy(predictor, corrupted, labels))
    return curves


def _accuracy(
    predictor: Predictor, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> float:
    return float((predictor.predict_pixels(pixels).labels == labels).mean())


class _FromPixels(nn.Module):
    """The model on pixel values in [0, 1], so that epsilon means the same in all channels."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.module = predictor.module
        scale, offset = normalisation(predictor.transform)
        self.register_buffer("scale", torch.from_numpy(scale * 255).view(1, 3, 1, 1))
        self.register_buffer("offset", torch.from_numpy(offset).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.module(images * self.scale + self.offset)[0]
        return logits


def _attacks(
    predictor: Predictor, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], seed: int
) -> dict[str, list[float]]:
    model = _FromPixels(predictor).eval()
    loss = nn.CrossEntropyLoss(reduction="none")
    fgsm = FGSM(model, loss, lower_bound=0.0, upper_bound=1.0)
    pgd = PGD(model, loss, lower_bound=0.0, upper_bound=1.0)

    def by_fgsm(images: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        return fgsm.perturb(images, epsilon=epsilon, target=targets)

    def by_pgd(images: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        return pgd.perturb(
            images,
            radius=epsilon,
            step_size=2.5 * epsilon / _PGD_STEPS,  # Madry et al.: reaches the border and back
            step_num=_PGD_STEPS,
            target=targets,
            random_start=True,
        )

    torch.manual_seed(seed)
    accuracies: dict[str, list[float]] = {"FGSM": [], "PGD": []}
    cases = [(epsilon, *a) for epsilon in EPSILONS for a in (("FGSM", by_fgsm), ("PGD", by_pgd))]
    for epsilon, name, perturb in track(cases, len(cases), "attacks"):
        right = 0
        for start in range(0, len(pixels), BATCH_SIZE):
            images = torch.from_numpy(pixels[start : start + BATCH_SIZE]).permute(0, 3, 1, 2) / 255
            targets = torch.from_numpy(labels[start : start + BATCH_SIZE])
            with warnings.catch_warnings():  # captum asks for gradients itself, and says so
                warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require")
                harmed = perturb(images, targets, epsilon / 255)
            with torch.inference_mode():
                right += int((model(harmed).argmax(1) == targets).sum())
        accuracies[name].append(right / len(pixels))
    return accuracies
