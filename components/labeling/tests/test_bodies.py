"""Bodies that a real Label Studio 1.23.2 wrote, read and judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.labeling.annotators import judge
from components.labeling.queue_facts import Queued, QueueFacts
from components.labeling.votes import collect_votes, image_of
from shared.component.annotations import Annotation, parse

BODIES = Path(__file__).parent / "bodies"


def _read(name: str) -> Annotation:
    (annotation,) = parse(json.loads((BODIES / f"{name}.json").read_text()))
    return annotation


def _queue(annotation: Annotation) -> str:
    """Return the queue it was captured from; each capture had its own."""
    return annotation.image_uri.partition("/review/")[0]


def _facts(annotation: Annotation) -> QueueFacts:
    image = image_of(annotation, _queue(annotation))
    queued = Queued("v1", "green", "2026-11-21", is_audit=False)
    classes = frozenset({"red", "green", "blue"})
    return QueueFacts({image: queued}, frozenset(), {}, {}, classes)


@pytest.mark.parametrize(
    ("name", "became"),
    [
        ("blind", "vote"),
        ("by_api", "vote"),
        ("empty", "empty answer"),
        ("skipped", "skipped"),
        ("suggestion_accepted", "vote"),
        ("suggestion_changed", "vote"),
        ("two_labels", "several labels"),
        ("unknown_label", "unknown label"),
        ("updated", "vote"),
    ],
)
def test_what_becomes_of_a_real_body(name: str, became: str) -> None:
    annotation = _read(name)
    assert image_of(annotation, _queue(annotation))
    assert collect_votes([annotation], _facts(annotation), _queue(annotation)).counts == {became: 1}


@pytest.mark.parametrize(
    ("name", "is_accepted"),
    [("suggestion_accepted", True), ("suggestion_changed", False), ("updated", False)],
)
def test_a_real_body_says_whether_a_suggestion_was_taken_unchanged(
    name: str, is_accepted: bool
) -> None:
    annotation = _read(name)
    facts = _facts(annotation)
    person = judge(collect_votes([annotation], facts, _queue(annotation)), facts, 0.0, 0.8)["1"]
    assert (person.accepted.hits, person.accepted.total) == (int(is_accepted), 1)
    assert person.median_s == annotation.lead_time_s > 0


def test_a_real_answer_without_a_suggestion_was_not_led() -> None:
    """Its prediction is there, empty: the score orders the tasks, nothing is shown."""
    assert not _read("blind").was_suggested
    assert _read("suggestion_changed").was_suggested


def test_an_update_is_newer_than_what_it_changed() -> None:
    changed, updated = _read("suggestion_changed"), _read("updated")
    assert changed.annotation_id == updated.annotation_id
    assert changed.age_key < updated.age_key
