"""Wilson's interval against published values."""

from __future__ import annotations

import pytest

from components.labeling.proportions import Proportion


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_as_published(hits: int, total: int, low: float, high: float) -> None:
    assert Proportion(hits, total).interval == pytest.approx((low, high), abs=0.00005)


def test_nothing_seen_says_nothing() -> None:
    assert (Proportion(0, 0).share, Proportion(0, 0).interval) == (None, (0.0, 1.0))


def test_no_interval_leaves_what_a_share_can_be() -> None:
    for total in range(1, 200):
        assert Proportion(0, total).interval[0] == 0
        assert Proportion(total, total).interval[1] == 1
