"""The detector fires when the world changes and is silent when it does not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from shared.component.errors import InputError
from shared.vision import drift
from shared.vision.drift import DriftDetector
from shared.vision.errors import LibraryError

CLASSES = 4


def world(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings [count, 12] and logits [count, 4]."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(shift, 1, (count, 12)).astype(np.float32)
    probabilities = generator.dirichlet(np.ones(CLASSES), count)
    return embeddings, np.log(probabilities).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return DriftDetector.fit(*world(400, 1), components=6, window=50, significance=0.05)


def test_confidence_is_the_softmaxs_largest_whatever_the_size_of_the_logits(detector):
    embeddings, _ = world(3, 5)
    logits = np.array([[0, 0, 0, 0], [1000, 0, 0, 0], [-1000, -1000, -1000, -1001]], np.float32)
    confidence = detector.features(embeddings, logits)[:, -2]
    assert confidence == pytest.approx([0.25, 1.0, 1 / (3 + np.exp(-1))], abs=1e-6)


def test_a_shifted_world_raises_the_alarm(detector):
    result = detector.check(detector.features(*world(50, 2, shift=1.0)))
    assert result.is_drift
    assert result.p_value < 1e-3
    assert result.features[0].name.startswith("component")


def test_the_same_world_is_silent_about_as_often_as_it_should_be(detector):
    alarms = [detector.check(detector.features(*world(50, s))).is_drift for s in range(10, 50)]
    assert sum(alarms) <= 8  # 40 windows at 5 %: more than 8 has a probability below 1 in 1,000


def test_a_changed_class_mix_is_named(detector):
    embeddings, logits = world(50, 3)
    logits[:] = np.log([0.97, 0.01, 0.01, 0.01])
    names = {f.name for f in detector.check(detector.features(embeddings, logits)).features[:2]}
    assert names == {"class mix", "confidence"}


def test_a_class_that_never_occurred_does_not_break_the_test(detector):
    features = detector.features(*world(50, 4))
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


def by_scipy(reference: np.ndarray, window: np.ndarray) -> list[tuple[float, float]]:
    """Return p-value and distance of every feature; the last one holds classes."""
    columns = zip(reference.T[:-1], window.T[:-1], strict=True)
    tests = [ks_2samp(before, now, method="asymp") for before, now in columns]
    both = (reference[:, -1], window[:, -1])
    classes = np.unique(np.concatenate(both))
    table = [[(column == one).sum() for one in classes] for column in both]
    mix = chi2_contingency(table)
    return [*((t.pvalue, t.statistic) for t in tests), (mix.pvalue, mix.statistic)]


@pytest.mark.parametrize("seed", range(12))
def test_every_feature_is_tested_as_scipy_tests_it(seed):
    generator = np.random.default_rng(seed)
    rows, window, columns, classes = generator.integers([60, 10, 1, 2], [600, 90, 12, 8])
    reference = generator.normal(0, 1, (rows, columns + 1)).round(1).astype(np.float32)
    features = generator.normal(seed % 3 / 3, 1, (window, columns + 1)).astype(np.float32)
    reference[:, -1] = generator.integers(0, classes, rows)
    features[:, -1] = generator.integers(0, classes + seed % 2, window)  # a class more, at times
    unprojected = np.zeros(columns - 1, np.float32), np.zeros((columns - 1, columns - 1))
    detector = DriftDetector(*unprojected, reference, int(window), 0.05)
    tested = detector.check(features)
    found = {feature.name: (feature.p_value, feature.distance) for feature in tested.features}
    expected = by_scipy(reference, features)
    for name, one in zip(detector.feature_names, expected, strict=True):
        assert found[name] == pytest.approx(one, rel=1e-6)  # alibi-detect's are float32
    assert tested.p_value == pytest.approx(min(1, len(expected) * min(p for p, _ in expected)))


@pytest.fixture
def another_library(tmp_path, monkeypatch):
    """Return a folder that stands for the module of another alibi-detect."""
    folder = tmp_path / "alibi_detect/cd"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    drift._tabular_drift.cache_clear()
    yield folder
    drift._tabular_drift.cache_clear()


@pytest.mark.parametrize("code", ["import torch\n", "class AnotherDrift: ...\n", None])
def test_another_library_is_an_error_that_names_the_right_one(detector, another_library, code):
    if code:
        (another_library / "tabular.py").write_text(code)
    with pytest.raises(LibraryError, match=r"install alibi-detect==0\.13\.0"):
        detector.check(detector.reference)


def test_the_library_that_is_imported_is_the_one_that_is_locked():
    repository = Path(__file__).parents[3]
    with (repository / "pyproject.toml").open("rb") as stream:
        (metadata,) = tomllib.load(stream)["tool"]["uv"]["dependency-metadata"]
    asked = {name.partition("<")[0].partition(">")[0] for name in metadata["requires-dist"]}
    assert metadata["version"] == drift.ALIBI_DETECT
    assert {name.replace("-", "_") for name in asked} == drift.SHOWN
    requirements = repository.glob("components/*/requirements.in")
    pins = [line for path in requirements for line in path.read_text().splitlines()]
    pins = [line.split()[0] for line in pins if line.startswith("alibi")]
    assert set(pins) == {f"alibi-detect=={drift.ALIBI_DETECT}"}
