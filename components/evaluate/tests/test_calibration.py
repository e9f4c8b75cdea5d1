"""Temperature and calibration error, against known truths and a loop by hand."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluate.calibration import BINS, fit_temperature, reliability
from shared.vision.predictor import softmax


def honest(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels drawn from their very probabilities: perfectly calibrated."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 5)).astype(np.float32)
    labels = np.array([generator.choice(5, p=p / p.sum()) for p in softmax(logits).astype(float)])
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_honest_logits_is_found(temperature):
    logits, labels = honest(6000)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.06)


def test_the_temperature_of_one_sample_calibrates_another():
    logits, labels = honest(3000)
    temperature = fit_temperature(logits * 3, labels)
    other, other_labels = honest(3000, seed=1)
    before = reliability(other * 3, other_labels, 1.0).ece
    after = reliability(other * 3, other_labels, temperature).ece
    assert before > 0.1
    assert after < 0.03


@pytest.mark.parametrize("is_right", [True, False])
def test_a_few_images_all_right_or_all_wrong_give_no_extreme_temperature(is_right):
    labels = np.arange(6) % 3
    logits = np.eye(3, dtype=np.float32)[labels if is_right else (labels + 1) % 3] * 20
    assert 0.25 <= fit_temperature(logits, labels) <= 4.0


def test_calibration_error_is_that_of_a_loop_over_bins():
    logits, labels = honest(700)
    found = reliability(logits * 2, labels, 1.0)
    probabilities = softmax(logits * 2)
    confidence, is_right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for bin_number in range(BINS):
        inside = (confidence > bin_number / BINS) & (confidence <= (bin_number + 1) / BINS)
        assert found.images[bin_number] == inside.sum()
        if inside.any():
            gap = abs(is_right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
            assert found.accuracy[bin_number] == pytest.approx(is_right[inside].mean())
    assert found.ece == pytest.approx(expected, abs=1e-5)


def test_empty_bins_are_no_number_and_raise_no_warning():
    found = reliability(np.array([[9.0, 0.0]], np.float32), np.array([0]), 1.0)
    assert found.images.sum() == 1
    assert np.isnan(found.accuracy[:-1]).all()
