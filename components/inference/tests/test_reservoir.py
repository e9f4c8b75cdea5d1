"""A fair sample of bounded size that survives its process."""

from __future__ import annotations

import random

import numpy as np
import pytest

from components.inference.reservoir import Reservoir


def filled(path, count: int, owner: str = "detector", seed: int = 0) -> Reservoir:
    reservoir = Reservoir(path, 50, 2, owner, random.Random(seed))  # noqa: S311
    for number in range(count):
        reservoir.add(lambda number=number: [float(number), 1.0])
    return reservoir


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.npz"


def test_rows_are_kept_while_there_is_room(path):
    assert filled(path, 20).rows()[:, 0].tolist() == list(range(20))


def test_the_sample_is_uniform_over_all_that_was_seen(path):
    means = [filled(path, 1000, seed=s).rows()[:, 0].mean() for s in range(40)]
    assert filled(path, 1000).rows().shape == (50, 2)
    # one mean has a standard deviation of 289 / sqrt(50) = 41, that of forty 6.5
    assert abs(float(np.mean(means)) - 499.5) < 26


def test_another_process_goes_on_where_this_one_was_saved(path):
    first = filled(path, 1000)
    first.save(0.0)
    second = Reservoir(path, 50, 2, "detector")
    assert second.seen == 1000
    assert (second.rows() == first.rows()).all()


def test_saving_waits_a_few_seconds_unless_it_is_urgent(path):
    reservoir = filled(path, 10)
    reservoir.save(100.0)
    reservoir.add(lambda: [1.0, 1.0])
    reservoir.save(101.0)
    assert Reservoir(path, 50, 2, "detector").seen == 10
    reservoir.save(106.0)
    assert Reservoir(path, 50, 2, "detector").seen == 11
    reservoir.empty()
    reservoir.save(107.0, is_urgent=True)
    assert Reservoir(path, 50, 2, "detector").seen == 0


@pytest.mark.parametrize("damage", ["cut", "text", "other detector", "other width", "absent"])
def test_what_cannot_be_used_is_begun_anew(path, damage):
    filled(path, 30, owner="old" if damage == "other detector" else "detector").save(0.0)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("no arrays")
    elif damage == "absent":
        path.unlink()
    reservoir = Reservoir(path, 50, 3 if damage == "other width" else 2, "detector")
    assert reservoir.seen == 0
    assert len(reservoir.rows()) == 0
