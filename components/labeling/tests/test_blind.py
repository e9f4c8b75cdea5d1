"""The blind share: the same images for everybody, and so many of them."""

from __future__ import annotations

import pytest

from components.labeling.blind import is_blind
from components.labeling.tests.merge_world import sha256


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_is_kept(share: float) -> None:
    found = sum(is_blind(sha256(number), share) for number in range(20_000))
    assert found / 20_000 == pytest.approx(share, abs=0.01)


def test_none_and_all_are_meant_literally() -> None:
    assert not any(is_blind(sha256(number), 0.0) for number in range(1000))
    assert all(is_blind(sha256(number), 1.0) for number in range(1000))


def test_a_larger_share_holds_the_smaller_one() -> None:
    small = {number for number in range(1000) if is_blind(sha256(number), 0.1)}
    assert small < {number for number in range(1000) if is_blind(sha256(number), 0.3)}


def test_who_is_blind_never_changes() -> None:
    """Pinned: a backend and a merge of different releases must agree."""
    assert [n for n in range(30) if is_blind(sha256(n), 0.1)] == [20]
