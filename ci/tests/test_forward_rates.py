"""What a benchmark says of forward passes: counted right, whatever runs at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ci.forward_rates import forward_rates
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import make_bundle


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder: Path = tmp_path_factory.mktemp("bundle")
    return Predictor(make_bundle(folder / "b"), threads=1)


def test_images_a_second_count_every_image_of_a_batch(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, lock = Counter[str](), Counter[int](), threading.Lock()

    def forward(images: object) -> None:
        size = len(images)  # type: ignore[arg-type]
        with lock:
            at_once["now"] += 1
            most[size] = max(most[size], at_once["now"])
        time.sleep(0.01)
        with lock:
            at_once["now"] -= 1

    monkeypatch.setattr(predictor.engine, "forward", forward)
    found = forward_rates(predictor, 0.3, batches=(1, 8), lanes=(1, 2))
    assert most == {1: 2, 8: 2}
    ones, eights = found["batches of 1"], found["batches of 8"]
    assert 30 < ones["1 at once"] <= 100  # at most one in ten milliseconds
    assert 1.5 < ones["2 at once"] / ones["1 at once"] < 2.5
    assert 6 < eights["1 at once"] / ones["1 at once"] < 10


def test_a_real_network_is_measured(predictor: Predictor) -> None:
    found = forward_rates(predictor, 0.05, batches=(2,), lanes=(1, 2))
    assert set(found["batches of 2"]) == {"1 at once", "2 at once"}
    assert all(rate > 0 for rate in found["batches of 2"].values())
