"""Metrics on the test set, each cross-checked against another road to the same figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from components.evaluate.errors import EvaluationError
from shared.vision.predictor import Predictions

_TOLERANCE = 2e-6
_DECIMALS = 6  # float32 makes 0.9 of 0.9 a little less, and a gate at 0.9 would fail


@dataclass(frozen=True)
class ClassScore:
    """One class's figures; `images` is its support in the test set."""

    name: str
    precision: float
    recall: float
    f1: float
    images: int


@dataclass(frozen=True)
class Scores:
    """What the model achieved on the test set.

    accuracy_interval: 95 % percentile bootstrap over images.
    confusion: int64 [classes, classes], rows are the true class.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    micro_f1: float
    auroc: float
    classes: tuple[ClassScore, ...]
    confusion: npt.NDArray[np.int64]

    @property
    def weakest(self) -> ClassScore:
        return min(self.classes, key=lambda score: score.recall)


def score(
    predictions: Predictions,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    bootstrap_samples: int,
    seed: int,
) -> Scores:
    """Compute all metrics with torchmetrics and cross-check them.

    labels: int64 [n], index into classes.
    Raises:
        EvaluationError: two roads to one figure disagree.
    """
    predicted, truth = torch.from_numpy(predictions.labels), torch.from_numpy(labels)
    count = len(classes)
    per_class = {"num_classes": count, "average": "none"}
    precision = multiclass_precision(predicted, truth, **per_class)
    recall = multiclass_recall(predicted, truth, **per_class)
    f1 = multiclass_f1_score(predicted, truth, **per_class)
    confusion = multiclass_confusion_matrix(predicted, truth, num_classes=count)
    scores = Scores(
        accuracy=_figure(multiclass_accuracy(predicted, truth, count, average="micro")),
        accuracy_interval=interval(predictions.labels == labels, bootstrap_samples, seed),
        macro_precision=_figure(precision.mean()),
        macro_recall=_figure(recall.mean()),
        macro_f1=_figure(multiclass_f1_score(predicted, truth, count, average="macro")),
        micro_f1=_figure(multiclass_f1_score(predicted, truth, count, average="micro")),
        auroc=_figure(multiclass_auroc(torch.from_numpy(predictions.probabilities), truth, count)),
        classes=tuple(
            ClassScore(name, _figure(precision[i]), _figure(recall[i]), _figure(f1[i]), int(n))
            for i, (name, n) in enumerate(
                zip(classes, np.bincount(labels, minlength=count), strict=True)
            )
        ),
        confusion=confusion.numpy(),
    )
    cross_check(scores, predictions, labels)
    return scores


def _figure(value: torch.Tensor) -> float:
    return round(float(value), _DECIMALS)


def interval(is_right: npt.NDArray[np.bool_], samples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a share."""
    # a resample of n yes/no answers is a binomial draw
    draws = np.random.default_rng(seed).binomial(len(is_right), is_right.mean(), samples)
    low, high = np.percentile(draws / len(is_right), [2.5, 97.5])
    return float(low), float(high)


def cross_check(scores: Scores, predictions: Predictions, labels: npt.NDArray[np.int64]) -> None:
    """Refuse figures that contradict each other, as in train-mode evaluations."""
    confusion = scores.confusion
    roads = {
        "micro F1": scores.micro_f1,
        "trace over sum of the confusion matrix": float(np.trace(confusion) / confusion.sum()),
        "share of right answers": float((predictions.labels == labels).mean()),
    }
    for name, value in roads.items():
        if abs(value - scores.accuracy) > _TOLERANCE:
            raise EvaluationError(
                f"evaluate: accuracy is {scores.accuracy:.6f} but {name} is {value:.6f}; "
                "the evaluation is broken, do not use its figures"
            )
    if confusion.sum() != len(labels):
        raise EvaluationError(
            f"evaluate: the confusion matrix counts {confusion.sum()} images, the test set "
            f"has {len(labels)}"
        )
