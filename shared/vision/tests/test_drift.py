"""The detector fires when the world changes and is silent when it does not."""

from __future__ import annotations

import numpy as np
import pytest

from shared.component.errors import InputError
from shared.vision.drift import DriftDetector

CLASSES = 4


def world(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings [count, 12] and probabilities [count, 4]."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(shift, 1, (count, 12)).astype(np.float32)
    probabilities = generator.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    return embeddings, probabilities


@pytest.fixture(scope="module")
def detector():
    return DriftDetector.fit(*world(400, 1), components=6, window=50, significance=0.05)


def test_a_shifted_world_raises_the_alarm(detector):
    result = detector.check(detector.features(*world(50, 2, shift=1.0)))
    assert result.is_drift
    assert result.p_value < 1e-3
    assert result.features[0].name.startswith("component")


def test_the_same_world_is_silent_about_as_often_as_it_should_be(detector):
    alarms = [detector.check(detector.features(*world(50, s))).is_drift for s in range(10, 50)]
    assert sum(alarms) <= 8  # 40 windows at 5 %: more than 8 has a probability below 1 in 1,000


def test_a_changed_class_mix_is_named(detector):
    embeddings, probabilities = world(50, 3)
    probabilities[:] = np.array([0.97, 0.01, 0.01, 0.01])
    names = {
        f.name for f in detector.check(detector.features(embeddings, probabilities)).features[:2]
    }
    assert names == {"class mix", "confidence"}


def test_a_class_that_never_occurred_does_not_break_the_test(detector):
    embeddings, probabilities = world(50, 4)
    features = detector.features(embeddings, probabilities)
    features[:, -1] = CLASSES
    assert detector.check(features).is_drift


def test_class_shares_are_compared_and_the_one_that_moved_most_comes_first(detector):
    features = detector.features(*world(50, 6))
    features[:, -1] = [0.0] * 40 + [5.0] * 10
    shifts = detector.class_shift(features)
    assert (shifts[0].index, shifts[0].window_share) == (0, 0.8)
    shares = {s.index: (s.reference_share, s.window_share) for s in shifts}
    assert shares[5] == (0.0, 0.2)
    assert set(shares) == set(range(6))
    assert sum(before for before, _ in shares.values()) == pytest.approx(1)
    moved = [abs(s.window_share - s.reference_share) for s in shifts]
    assert moved == sorted(moved, reverse=True)


def test_survives_saving_without_pickle(detector, tmp_path):
    detector.save(tmp_path)
    loaded = DriftDetector.load(tmp_path)
    features = detector.features(*world(50, 5))
    assert loaded.check(features) == detector.check(features)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["detector.json", "detector.npz"]
    with np.load(tmp_path / "detector.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"mean", "projection", "reference"}


def test_a_folder_without_a_detector_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no detector"):
        DriftDetector.load(tmp_path)
