"""A soak of ten seconds, and that a soak sees wrong answers and growth."""

from __future__ import annotations

import json

import pytest

from ci.soak import Question, main, medians, slope_of


def test_ten_seconds_bring_right_answers_and_a_slope(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", str(10 / 60), "--clients", "64"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["wrong"] == 0, document["first_wrong"]
    assert document["requests"] == sum(document["statuses"].values()) > 300
    assert set(document["statuses"]) == {"200", "400", "415", "422"}
    names = {name.split()[0] for name in document["memory"]}
    assert {"all", "front", "java", "worker", "collector"} <= names
    assert document["memory"]["all"]["pss"]["samples"] > 5
    assert "wrong=0" in said.err


def answer(confidence: float, count: int = 1) -> bytes:
    return json.dumps({"predictions": [{"confidence": confidence}] * count}).encode()


def test_an_answer_for_another_image_is_wrong() -> None:
    question = Question(b"", "application/x-image", 200, (0.9,))
    assert question.is_right(200, answer(0.9))
    assert not question.is_right(200, answer(0.8))
    assert not question.is_right(200, answer(0.9, count=2))
    assert not question.is_right(500, answer(0.9))
    refused = Question(b"", "text/plain", 415)
    assert refused.is_right(415, b'{"error": "a", "message": "b", "request_id": "c"}')
    assert not refused.is_right(415, b'{"error": "a", "trace": "b"}')


def test_the_slope_is_that_of_least_squares() -> None:
    assert slope_of([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx((2, 0))
    slope, error = slope_of([0, 1, 2, 3], [0, 1, 0, 1])
    assert (slope, error) == pytest.approx((0.2, 0.2828), abs=1e-4)


@pytest.mark.parametrize("growth", [0.0, 36.0])
def test_what_comes_and_goes_within_a_minute_is_no_growth(growth: float) -> None:
    seconds = [float(second) for second in range(480)]
    held = [100 + growth * second / 3600 + (second + 17) % 60 / 4 for second in seconds]
    assert slope_of([s / 3600 for s in seconds], held)[0] != pytest.approx(growth, abs=3)
    points, middle = medians(seconds, held)
    assert len(points) == 8
    assert slope_of([s / 3600 for s in points], middle)[0] == pytest.approx(growth, abs=1)


def test_a_short_run_keeps_all_its_samples() -> None:
    assert medians([0.0, 1.0, 2.0], [5.0, 4.0, 6.0]) == ([0.0, 1.0, 2.0], [5.0, 4.0, 6.0])
