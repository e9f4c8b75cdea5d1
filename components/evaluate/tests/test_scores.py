"""The figures are right: scikit-learn and plain counting come to the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from components.evaluate.errors import EvaluationError
from components.evaluate.gates import gates
from components.evaluate.scores import cross_check, interval, score
from shared.vision.predictor import Predictions, softmax

CLASSES = ("a", "b", "c", "d")


def answers(logits: np.ndarray) -> Predictions:
    logits = logits.astype(np.float32)
    return Predictions(logits, softmax(logits), np.zeros((len(logits), 1), np.float32))


def right_on(is_right: np.ndarray, labels: np.ndarray) -> Predictions:
    """Return answers that are right exactly where asked, otherwise the next class."""
    said = np.where(is_right, labels, (labels + 1) % len(CLASSES))
    return answers(np.eye(len(CLASSES))[said] * 5)


@pytest.fixture(scope="module")
def measured():
    """Return unbalanced labels, answers that are often right, and their scores."""
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 300, p=[0.5, 0.3, 0.15, 0.05])
    logits = generator.normal(0, 1, (300, 4))
    logits[np.arange(300), labels] += 1.2
    predictions = answers(logits)
    return labels, predictions, score(predictions, labels, CLASSES, 200, 0)


def test_per_class_and_macro_figures_are_those_of_scikit_learn(measured):
    labels, predictions, scores = measured
    table = metrics.precision_recall_fscore_support(labels, predictions.labels)
    found = [[getattr(c, name) for c in scores.classes] for name in ("precision", "recall", "f1")]
    assert np.allclose(found, table[:3], atol=1e-6)
    assert [c.images for c in scores.classes] == table[3].tolist()
    macro = [scores.macro_precision, scores.macro_recall, scores.macro_f1]
    assert np.allclose(macro, np.mean(table[:3], axis=1), atol=1e-6)
    assert scores.weakest.recall == min(c.recall for c in scores.classes)


def test_auroc_is_that_of_scikit_learn(measured):
    labels, predictions, scores = measured
    probabilities = predictions.probabilities.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert scores.auroc == pytest.approx(expected, abs=1e-5)


def test_accuracy_and_confusion_are_those_of_counting(measured):
    labels, predictions, scores = measured
    counted = np.zeros((4, 4), int)
    for true, said in zip(labels, predictions.labels, strict=True):
        counted[true, said] += 1
    assert np.array_equal(scores.confusion, counted)
    assert scores.accuracy == pytest.approx(np.trace(counted) / 300, abs=1e-6)


def test_the_interval_is_that_of_resampling_images(measured):
    labels, predictions, _ = measured
    is_right = predictions.labels == labels
    generator = np.random.default_rng(1)
    shares = [generator.choice(is_right, len(is_right)).mean() for _ in range(4000)]
    expected = np.percentile(shares, [2.5, 97.5])
    assert np.allclose(interval(is_right, 4000, 0), expected, atol=0.01)


@pytest.mark.parametrize(
    "change", [{"micro_f1": 0.415}, {"accuracy": 0.926}, {"confusion": np.eye(4, dtype=int)}]
)
def test_figures_that_contradict_each_other_are_refused(measured, change):
    labels, predictions, scores = measured
    with pytest.raises(EvaluationError, match="evaluate: "):
        cross_check(replace(scores, **change), predictions, labels)


@pytest.mark.parametrize("images", [40, 120, 440, 4000])
def test_exactly_nine_of_ten_pass_a_gate_of_nine_tenths(images):
    labels = np.arange(images) % 4
    is_right = np.arange(images) // 4 % 10 > 0  # nine of ten in every class
    scores = score(right_on(is_right, labels), labels, CLASSES, 100, 0)
    figures = {
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "min_class_recall": scores.weakest.recall,
        "regression": 0.0,
    }
    checked = gates(
        figures, min_accuracy=0.9, min_macro_f1=0.9, min_class_recall=0.9, max_regression=0.0
    )
    assert [gate.name for gate in checked if not gate.has_passed] == []
