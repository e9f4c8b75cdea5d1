"""Champion and challenger on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluate.champion import champion_answers, compare
from shared.component.errors import StorageError
from shared.vision.bundle import ARCHIVE, pack
from shared.vision.tests.factories import make_bundle, make_dataset


def answers(pattern: str) -> np.ndarray:
    """Return which images are answered rightly: `+` right, `-` wrong, a hundred of each."""
    return np.array([sign == "+" for sign in pattern * 100])


def test_a_known_difference_is_found_and_its_interval_is_that_of_resampling():
    champion, challenger = answers("+++--+++-+"), answers("++++++-+++")
    found = compare(champion, challenger, 4000, 0)
    assert found.champion_accuracy == pytest.approx(0.7)
    assert found.difference == pytest.approx(0.2)
    assert (found.only_champion, found.only_challenger) == (100, 300)
    generator = np.random.default_rng(1)
    gain = challenger.astype(int) - champion.astype(int)
    means = [generator.choice(gain, len(gain)).mean() for _ in range(4000)]
    assert np.allclose(found.interval, np.percentile(means, [2.5, 97.5]), atol=0.005)
    assert found.regression == 0.0


def test_equally_good_models_differ_by_nothing_within_an_interval_around_it():
    found = compare(answers("++-+"), answers("+-++"), 1000, 0)
    assert found.difference == 0
    assert found.interval[0] < 0 < found.interval[1]
    alike = compare(answers("+-"), answers("+-"), 1000, 0)
    assert alike.interval == (0, 0)


def test_what_is_lost_is_the_regression():
    found = compare(answers("++++"), answers("+++-"), 1000, 0)
    assert found.regression == pytest.approx(0.25)
    assert found.interval[1] < 0


def test_a_champion_answers_from_its_archive(tmp_path):
    data = make_dataset(tmp_path / "data")
    archive = tmp_path / "package" / ARCHIVE
    pack(make_bundle(tmp_path / "model", data).folder, archive)
    assert champion_answers(str(archive), data.split("test")).tolist() == [True] * 24


def test_a_champion_of_other_classes_is_a_reason_and_no_comparison(tmp_path):
    data = make_dataset(tmp_path / "data")
    make_bundle(tmp_path / "model", data, classes=("azure", "green", "red"))
    reason = champion_answers(str(tmp_path / "model"), data.split("test"))
    assert isinstance(reason, str)
    assert "other classes (azure, green, red)" in reason


def test_a_champion_that_is_gone_is_named(tmp_path):
    data = make_dataset(tmp_path / "data")
    with pytest.raises(StorageError, match=r"nothing at .*gone"):
        champion_answers(str(tmp_path / "gone"), data.split("test"))
