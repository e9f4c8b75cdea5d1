"""However events come (lost, doubled, reordered), the same answers give the same labels."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from components.labeling.decide import Decision, Rules, decide
from components.labeling.queue_facts import Queued, QueueFacts
from components.labeling.tests.merge_world import CLASSES, QUEUE, World, body, sha256
from shared.component.annotations import Annotation, latest, parse

IMAGES = [sha256(n) for n in range(5)]
FACTS = QueueFacts(
    tasks={s: Queued("v1", "lake", "2024-10-04", is_audit=False) for s in IMAGES},
    drawn=frozenset(IMAGES[3:4]),
    audit={IMAGES[3]: Queued("v1", "lake", "2024-10-04", is_audit=True)},
    gold={IMAGES[4]: "road"},
    classes=frozenset(CLASSES),
)

# States of annotations: few ids and moments, so that states of one annotation meet.
state = st.builds(
    lambda number, image, choice, who, second, truth, skipped: body(
        number,
        image,
        choice,
        who,
        updated_at=f"2026-01-01T00:00:{second:02d}Z",
        ground_truth=truth,
        was_cancelled=skipped,
    ),
    st.integers(1, 8),
    st.sampled_from(IMAGES),
    st.sampled_from([*CLASSES, "moon", None]),
    st.integers(1, 3),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)


def _decide(bodies: list[dict[str, Any]]) -> Decision:
    rows = latest(row for document in bodies for row in parse(document))
    return decide(rows, FACTS, QUEUE, Rules(min_shared=2))


@given(st.lists(state, max_size=25), st.randoms(use_true_random=False))
def test_order_and_doubling_change_nothing(bodies: list[dict], chance: Any) -> None:
    doubled = bodies + [item for item in bodies if chance.random() < 0.5]
    chance.shuffle(doubled)
    assert _decide(doubled) == _decide(bodies)


@given(st.lists(state, max_size=25))
def test_what_measures_is_never_a_label(bodies: list[dict]) -> None:
    labels = {label.sha256 for label in _decide(bodies).labels}
    assert not labels & {*FACTS.drawn, *FACTS.gold}


@given(st.lists(state, max_size=25))
def test_every_answer_is_counted_once(bodies: list[dict]) -> None:
    decision = _decide(bodies)
    assert sum(decision.answers.values()) == len({item["id"] for item in bodies})


@given(st.lists(state, min_size=1, max_size=25))
def test_every_label_is_somebodys_answer(bodies: list[dict]) -> None:
    rows: dict[str, Annotation] = {
        row.annotation_id: row for row in latest(r for b in bodies for r in parse(b))
    }
    for label in _decide(bodies).labels:
        assert label.annotations
        for key in label.annotations:
            assert rows[key].choices == (label.label,)
            assert label.sha256 in rows[key].image_uri
            assert rows[key].voter in label.annotators


@settings(max_examples=15, deadline=None)
@given(st.lists(state, min_size=1, max_size=12), st.data())
def test_what_is_lost_and_sent_again_heals(bodies: list[dict], data: Any) -> None:
    """A merge while objects are missing leaves no trace in the one after they came."""
    last = {str(item["id"]): item for item in bodies}
    lost = data.draw(st.sets(st.sampled_from(sorted(last))))
    with tempfile.TemporaryDirectory() as name:
        whole, healed = World(Path(name, "whole")), World(Path(name, "healed"))
        for world in (whole, healed):
            for n in range(5):
                world.queue(n)
            for key, item in last.items():
                if world is whole or key not in lost:
                    world.stores.annotations.put(key, json.dumps(item).encode())
        healed.merge()
        for key in sorted(lost, reverse=True):
            healed.stores.annotations.put(key, json.dumps(last[key]).encode())
        assert healed.merge().decision == whole.merge().decision
        if (whole.folder / "labels/current.json").exists():
            assert healed.current() == whole.current()
