"""The calibration tells a good detector from a broken one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from components.fit_detector.calibration import FalseAlarms, calibrate, class_mix_power, power
from shared.vision.drift import DriftDetector


@pytest.fixture(scope="module")
def detector() -> DriftDetector:
    """Return a detector of 300 images whose three classes lie apart."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    embeddings = generator.normal(0, 1, (300, 6))
    embeddings[:, 0] += 4 * labels
    probabilities = np.eye(3)[labels] * 0.8 + generator.dirichlet(np.ones(3), 300) * 0.2
    return DriftDetector.fit(
        embeddings.astype(np.float32),
        np.log(probabilities).astype(np.float32),
        components=4,
        window=30,
        significance=0.05,
    )


def test_clean_windows_alarm_as_often_as_stated(detector):
    calibrated, measured = calibrate(detector, 0.1, windows=200, seed=0)
    assert calibrated.threshold == measured.threshold > 0
    assert measured.rate == measured.alarms / 200
    low, high = binomtest(measured.alarms, 200).proportion_ci(method="exact")
    assert measured.interval == (low, high)
    assert low <= 0.1 <= high
    assert measured.is_as_stated


def test_the_threshold_is_that_of_clean_windows_and_not_assumed(detector):
    """A reference's own windows are no drift: no window is tested against its own rows."""
    rows = np.arange(30)
    beside = detector.without(rows)
    assert len(beside.reference) == len(detector.reference) - 30
    assert np.array_equal(beside.reference, detector.reference[30:])


@pytest.mark.parametrize(
    ("alarms", "is_as_stated"), [(0, False), (2, False), (10, True), (30, False), (200, False)]
)
def test_a_rate_that_does_not_fit_is_not_as_stated(alarms, is_as_stated):
    measured = FalseAlarms(0.05, 0.01, 200, alarms, (0.0, 1.0))
    assert measured.is_as_stated is is_as_stated


def test_a_good_detector_is_doubted_no_more_often_than_stated():
    """The threshold has its own chance: two equal samples, one sets it, one checks it."""
    setting, checking = np.random.default_rng(0).random((2, 1000, 300))
    thresholds = np.quantile(setting, 0.05, axis=1)
    alarms = (checking < thresholds[:, None]).sum(axis=1)
    believed = [FalseAlarms(0.05, 0.05, 300, int(n), (0.0, 1.0)).is_as_stated for n in alarms]
    assert np.mean(believed) >= 0.94


def test_drift_is_found_and_its_absence_is_not(detector):
    rows = np.arange(len(detector.reference))
    moved = detector.reference.copy()
    moved[:, 1] += 2
    found = power(detector, {"none": detector.reference, "moved": moved}, rows, 20, seed=0)
    assert found["moved"] == 1.0
    assert found["none"] <= 0.2


def test_a_detector_that_can_never_fire_has_no_power(detector):
    moved = detector.reference + 5
    rows = np.arange(len(moved))
    dead = replace(detector, threshold=0.0)
    assert power(dead, {"moved": moved}, rows, 10, seed=0) == {"moved": 0.0}


def test_the_power_grows_with_the_share_of_one_class(detector):
    found = class_mix_power(detector, (0.0, 0.5, 1.0), 20, seed=0)
    assert list(found) == ["0%", "50%", "100%"]
    assert found["100%"] == 1.0
    assert found["0%"] <= 0.2
    assert found["0%"] <= found["50%"] <= found["100%"]
