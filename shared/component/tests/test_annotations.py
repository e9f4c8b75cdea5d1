"""Reading answers and electing a label; the merge as a whole is tested in labeling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.component.annotations import (
    NOT_AN_ANNOTATION,
    Annotation,
    Verdict,
    elect,
    latest,
    parse,
)


def _answer(number: int, *choices: str, **changes: Any) -> Annotation:
    return Annotation(
        **{
            "annotation_id": str(number),
            "task_id": "1",
            "image_uri": "s3://b/1.jpg",
            "choices": choices,
            "annotator": str(number),
            "was_cancelled": False,
            "ground_truth": False,
            "updated_at": f"2026-01-01T00:00:{number:02d}Z",
        }
        | changes
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"),
        ("2026-01-01T00:00:00+02:00", "2025-12-31T23:00:00Z"),
        ("", "2026-01-01T00:00:00Z"),
        ("yesterday", "2026-01-01T00:00:00Z"),
    ],
)
def test_the_newest_state_is_told_by_time_not_by_letters(older: str, newer: str) -> None:
    states = [_answer(1, "a", updated_at=older), _answer(1, "b", updated_at=newer)]
    for given in (states, states[::-1]):
        (kept,) = latest(given)
        assert kept.choices == ("b",)


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "EST+5")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_a_time_without_a_zone_is_the_same_everywhere() -> None:
    states = [
        _answer(1, "a", updated_at="2026-01-01T00:00:00"),
        _answer(1, "b", updated_at="2026-01-01T00:00:01Z"),
    ]
    assert latest(states)[0].choices == latest(states[::-1])[0].choices == ("b",)


def test_states_of_one_time_are_told_apart_whatever_their_order() -> None:
    states = [_answer(1, "a"), _answer(1, "b")]
    assert latest(states) == latest(states[::-1])


def test_annotations_of_a_verdict_are_sorted_as_numbers() -> None:
    votes = [_answer(n, "sea") for n in (10, 9, 2)]
    assert elect(votes) == Verdict("sea", ("10", "2", "9"), ("2", "9", "10"), "majority")


def test_the_last_vote_is_the_one_changed_last_not_the_one_made_last() -> None:
    votes = [
        _answer(1, "sea", annotator="7", updated_at="2026-01-02T00:00:00Z"),
        _answer(2, "street", annotator="7", updated_at="2026-01-01T00:00:00Z"),
    ]
    assert elect(votes).label == elect(votes[::-1]).label == "sea"


def test_answers_without_a_name_are_people_of_their_own() -> None:
    votes = [_answer(n, "ab"[n % 2], annotator="") for n in range(3)]
    assert elect(votes).annotators == ("annotation 0", "annotation 2")


def test_the_last_of_several_adjudicators_decides() -> None:
    votes = [_answer(1, "a", ground_truth=True), _answer(2, "b", ground_truth=True)]
    assert elect(votes) == elect(votes[::-1]) == Verdict("b", ("2",), ("2",), "adjudication")


@pytest.mark.parametrize("value", [None, "soon", -1, float("nan"), float("inf"), True, []])
def test_a_lead_time_that_is_none_is_unknown(value: object) -> None:
    body = {"id": 1, "result": [], "task": {"id": 1, "data": {"image": "x"}}, "lead_time": value}
    (annotation,) = parse(body)
    assert annotation.lead_time_s == -1.0


@pytest.mark.parametrize("changes", [{"lead_time": 10**400}, {"updated_at": "9" * 5000}])
def test_a_number_beyond_all_bounds_spoils_no_other_answer(changes: dict[str, Any]) -> None:
    """Whoever may write one object must not be able to stop every merge."""
    body = {"id": 1, "result": [], "task": {"id": 1, "data": {"image": "x"}}} | changes
    with suppress(*NOT_AN_ANNOTATION):
        assert latest(parse(body))


def test_a_name_of_very_many_digits_is_sorted_too() -> None:
    votes = [_answer(1, "sea", annotation_id=name) for name in ("9" * 5000, "10", "9")]
    votes = [replace(vote, annotator=vote.annotation_id) for vote in votes]
    assert elect(votes).annotations == ("9", "10", "9" * 5000)


def test_the_image_is_the_one_text_of_a_task_or_its_image() -> None:
    body = {"id": 1, "result": [], "task": {"id": 1}}
    for data in ({"photo": "x", "n": 7}, {"image": "x", "note": "y"}):
        (annotation,) = parse(body | {"task": {"id": 1, "data": data}})
        assert annotation.image_uri == "x"
    for data in ({"photo": "x", "note": "y"}, {}, {"image": 7, "n": 8}):
        with pytest.raises(KeyError):
            list(parse(body | {"task": {"id": 1, "data": data}}))
