"""What is told whole, and that nothing is told twice or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from components.inference.records import Record, TallyRecord
from components.inference.thinning import Tally, Thinner


class Bench:
    """A thinner on a clock of its own; alarms ring when the test says so."""

    def __init__(self, per_s: float) -> None:
        self.now = 0.0
        self.sent: list[Record] = []
        self.alarms: list[Callable[[], None]] = []
        dice = random.Random(0)  # noqa: S311 - a test
        self.thinner = Thinner(per_s, lambda: self.now, dice.random)
        self.tally = Tally(self, self._alarm)

    def send(self, record: Record) -> None:
        self.sent.append(record)

    def _alarm(self, _delay_s: float, callback: Callable[[], None]) -> None:
        self.alarms.append(callback)

    def seconds(self, number: int, rate: int) -> list[int]:
        """Return how many of `rate` requests a second were chosen, second by second."""
        chosen = []
        for _ in range(number):
            count = 0
            for _ in range(rate):
                self.now += 1 / rate
                count += self.thinner.is_chosen()
            chosen.append(count)
        return chosen


def test_few_requests_are_all_told() -> None:
    assert Bench(50).seconds(5, 40) == [40] * 5


@pytest.mark.parametrize(("rate", "told"), [(60, 35), (100, 12.5), (1000, 2.5)])
def test_the_more_come_the_fewer_are_told_down_to_a_twentieth(rate: int, told: float) -> None:
    first, *later = Bench(50).seconds(60, rate)
    assert first < 250  # the first second is a surprise
    assert 0.8 * told < sum(later) / len(later) < 1.2 * told
    assert max(later) < 60


def test_after_a_burst_all_are_told_again() -> None:
    bench = Bench(50)
    bench.seconds(3, 1000)
    bench.seconds(2, 20)
    assert bench.seconds(3, 20) == [20] * 3


def test_a_pause_is_no_burst() -> None:
    bench = Bench(50)
    bench.seconds(1, 30)
    bench.now += 100
    assert bench.seconds(2, 30) == [30, 30]


def test_what_is_not_told_whole_is_counted_once_a_second() -> None:
    bench = Bench(50)
    for label in ("a", "b", "a"):
        bench.tally.add({"Label": {label: 1}, "ImageFormat": {"JPEG": 1}})
    assert (bench.sent, len(bench.alarms)) == ([], 1)
    bench.alarms.pop()()
    (record,) = bench.sent
    assert isinstance(record, TallyRecord)
    assert record.counts == {"Label": {"a": 2, "b": 1}, "ImageFormat": {"JPEG": 3}}
    bench.tally.tell()
    assert len(bench.sent) == 1
    bench.tally.add({})
    assert len(bench.alarms) == 0
    bench.tally.count(StatusClass="2xx", ErrorKind="Odd")
    bench.tally.count(StatusClass="2xx")
    assert len(bench.alarms) == 1
    bench.alarms.pop()()
    assert isinstance(bench.sent[1], TallyRecord)
    assert bench.sent[1].counts == {"StatusClass": {"2xx": 2}, "ErrorKind": {"Odd": 1}}
