"""Agreement against published examples and against scikit-learn."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import cohen_kappa_score

from components.labeling.agreement import cohen_kappa, nominal_alpha

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), B: two observers, ten
# units, alpha = 0.095; C: four observers, twelve units, data missing, alpha = 0.743.
TWO_OBSERVERS = ("0100000010", "1110010000")
FOUR_OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def _units(*observers: str) -> list[list[str]]:
    return [[label for label in unit if label != "."] for unit in zip(*observers, strict=True)]


def test_alpha_of_two_observers_is_as_published() -> None:
    assert nominal_alpha(_units(*TWO_OBSERVERS)) == pytest.approx(0.095, abs=0.0005)


def test_alpha_with_missing_data_is_as_published() -> None:
    assert nominal_alpha(_units(*FOUR_OBSERVERS)) == pytest.approx(0.743, abs=0.0005)


@pytest.mark.parametrize("units", [[], [["a"], ["b"]], [["a", "a"], ["a", "a", "a"], ["b"]]])
def test_alpha_of_what_cannot_disagree_is_not_defined(units: list[list[str]]) -> None:
    assert nominal_alpha(units) is None


@pytest.mark.parametrize(("noise", "expected"), [(0.05, 0.884), (0.2, 0.578), (0.5, 0.16)])
def test_alpha_falls_with_noise_as_probability_has_it(noise: float, expected: float) -> None:
    """Six classes, three people; who errs names another class: ((1-n)^2 + n^2/5 - 1/6) * 6/5."""
    classes, chance = range(6), random.Random(7)  # noqa: S311 - repeatable noise
    units = [
        [
            str(truth if chance.random() > noise else chance.choice([*{*classes} - {truth}]))
            for _ in range(3)
        ]
        for truth in chance.choices(classes, k=3000)
    ]
    assert nominal_alpha(units) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4, 0.9])
def test_kappa_is_scikit_learns(noise: float) -> None:
    chance = random.Random(3)  # noqa: S311 - repeatable noise
    first = chance.choices("abc", weights=[6, 3, 1], k=200)
    second = [chance.choice("abc") if chance.random() < noise else label for label in first]
    expected = cohen_kappa_score(first, second)
    assert cohen_kappa(list(zip(first, second, strict=True))) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [[], [("a", "a"), ("a", "a")]])
def test_kappa_of_what_cannot_disagree_is_not_defined(pairs: list[tuple[str, str]]) -> None:
    assert cohen_kappa(pairs) is None
