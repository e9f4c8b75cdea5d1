"""The benchmark of training runs on a tiny data set, and its stopwatch gives away no second."""

from __future__ import annotations

import json
import time

import pytest

from ci.bench_training import _NETWORK, main
from ci.training_probe import FRAMEWORK, PICTURES, VALIDATION, Stopwatch


@pytest.mark.slow
@pytest.mark.training
def test_it_measures_a_tiny_training(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--data", "sample://scenes?images=60&test=12&size=48", "--image-size", "32"]
    assert main([*tiny, "--rounds", "1", "--epochs", "3", "--seconds", "0.2"]) == 0
    found = json.loads(capsys.readouterr().out)
    speed = found["speed"]
    for name in ("loop", "logged", "limit_same_threads", "limit_all_cores"):
        assert speed["images_per_s"][name]["median"] > 0
    bare = speed["images_per_s"]["limit_same_threads"]["median"]
    ratio = speed["images_per_s"]["loop"]["median"] / bare
    assert speed["loop_of_limit_same_threads"]["median"] == pytest.approx(ratio, rel=0.02)
    shares = found["where_the_loop_spends_its_time"]
    assert sum(each["share"]["median"] for each in shares.values()) == pytest.approx(1, abs=0.02)
    assert {"backward", "forward and loss", "averaging of weights"} <= shares.keys()
    assert found["checkpoints"]["written"] >= [1]
    assert found["telemetry"]["pictures_s_a_drawing"]["median"] > 0
    network = sum(shares[name]["share"]["median"] for name in _NETWORK)
    assert speed["network_of_loop"]["median"] == pytest.approx(network, abs=0.02)
    start = found["time_to_first_batch_s"]
    phases = sum(value["median"] for name, value in start.items() if name != "all")
    assert phases == pytest.approx(start["all"]["median"], rel=0.05)


class Work:
    """Calls one another as a training's parts do."""

    def outer(self) -> None:
        self.inner()
        time.sleep(0.02)

    def inner(self) -> None:
        time.sleep(0.03)

    def draw(self) -> None:
        time.sleep(0.01)

    def validate(self) -> None:
        self.inner()
        self.draw()


def test_every_second_belongs_to_the_innermost_call() -> None:
    watch = Stopwatch()
    for method, name in (
        ("outer", "outer"),
        ("inner", "inner"),
        ("draw", PICTURES),
        ("validate", VALIDATION),
    ):
        watch.watch(Work, method, name)
    work = Work()
    work.outer()  # before the start nothing counts
    began = time.perf_counter()
    watch.start()
    work.outer()
    work.validate()
    watch.stop()
    elapsed = time.perf_counter() - began
    assert sum(watch.seconds.values()) == pytest.approx(elapsed, abs=0.005)
    assert watch.seconds["outer"] >= 0.02
    assert watch.seconds["inner"] >= 0.03
    assert watch.seconds[VALIDATION] >= 0.03  # what it calls is its own, but for pictures
    assert watch.seconds[PICTURES] >= 0.01
    assert watch.seconds[FRAMEWORK] < elapsed - 0.09
    assert watch.calls == {"outer": 1, "inner": 1, PICTURES: 1, VALIDATION: 2}
