"""Corruptions: repeatable, of the same shape, and worse with every severity."""

from __future__ import annotations

import numpy as np
import pytest

from shared.vision.corruptions import KINDS, SEVERITIES, corrupt

GENERATOR = np.random.default_rng(0)
ROWS, COLUMNS = np.mgrid[0:64, 0:64]
TEXTURE = GENERATOR.normal(0, 12, (64, 64, 3))
IMAGE = np.clip(
    np.stack([2 * ROWS + 60, 2 * COLUMNS + 60, 110 + 60 * np.sin(COLUMNS / 3)], axis=2) + TEXTURE,
    0,
    255,
).astype(np.uint8)


def harm(kind: str, severity: int) -> float:
    changed = [corrupt(IMAGE, kind, severity, seed).astype(int) for seed in range(3)]
    return float(np.mean([np.abs(c - IMAGE).mean() for c in changed]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hardest_severity_harms_more_than_the_slightest(kind):
    harms = [harm(kind, severity) for severity in SEVERITIES]
    assert 0 < harms[0] < harms[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels(kind):
    one, two = corrupt(IMAGE, kind, 3, 7), corrupt(IMAGE, kind, 3, 7)
    assert np.array_equal(one, two)
    assert (one.shape, one.dtype) == (IMAGE.shape, np.uint8)
