"""The audit sample measures the model, with an interval, and only by labels that hold."""

from __future__ import annotations

from typing import Any

import pytest

from components.labeling.tests.merge_world import World, sha256
from shared.component.review_queue import audit_key, task_key


def _audit(world: World) -> dict[str, dict[str, Any]]:
    world.merge()
    return {model["model_version"]: model for model in world.report()["audit"]}


def test_accuracy_is_told_with_its_interval_by_model_version(world: World) -> None:
    for n in range(29):
        right = "lake" if n else "road"
        world.annotate(world.queue(n, right, is_audit=True, version="v1"), "road")
    for n in range(100, 104):
        world.annotate(world.queue(n, "road", is_audit=True, version="v2", day=1), "road")
    audit = _audit(world)
    assert list(audit) == ["v1", "v2"]
    first = audit["v1"]["accuracy"]
    assert (first["hits"], first["total"]) == (1, 29)
    assert (first["low"], first["high"]) == pytest.approx((0.0061, 0.1718), abs=0.00005)
    assert audit["v2"]["accuracy"]["share"] == 1.0
    assert list(audit["v1"]["by_class"]) == ["road"]
    assert audit["v2"]["by_class"] == {}


def test_what_is_held_or_unlabelled_is_counted_and_measures_nothing(world: World) -> None:
    disputed = world.queue("disputed", is_audit=True)
    world.annotate(disputed, "road", who=1)
    world.annotate(disputed, "lake", who=2)
    world.queue("untouched", is_audit=True)
    world.annotate(world.queue("done", "lake", is_audit=True), "lake")
    model = _audit(world)["v1"]
    assert (model["drawn"], model["held"], model["unlabelled"]) == (3, 1, 1)
    assert (model["accuracy"]["hits"], model["accuracy"]["total"]) == (1, 1)


def test_the_answer_that_was_drawn_is_measured(world: World) -> None:
    """An image that an old model queued may be drawn from a newer model's answers."""
    image = world.queue("a", "road", version="old")
    task = (world.folder / "queue" / task_key(image)).read_bytes()
    world.queue("a", "lake", version="new", is_audit=True)
    world.stores.queue.put(task_key(image), task)
    world.annotate(image, "lake")
    assert (world.folder / "queue" / audit_key(image)).exists()
    audit = _audit(world)
    assert list(audit) == ["new"]
    assert audit["new"]["accuracy"]["hits"] == 1


def test_a_label_of_a_batch_that_is_held_measures_nothing(world: World) -> None:
    drawn = world.queue("drawn", "lake", is_audit=True)
    world.annotate(drawn, "lake", who=1)
    for n in range(30):
        image = world.queue(n)
        world.annotate(image, ("lake", "road")[n % 2], who=1)
        world.annotate(image, ("lake", "road")[n % 3 % 2], who=2)
    model = _audit(world)["v1"]
    assert (model["held"], model["accuracy"]["total"]) == (1, 0)


def test_a_gold_image_that_was_drawn_measures_the_annotator_alone(world: World) -> None:
    world.queue("g", "lake", is_audit=True)
    world.gold(g="lake")
    world.annotate(sha256("g"), "lake")
    assert _audit(world) == {}


def test_an_image_labelled_with_a_suggestion_in_sight_measures_nothing(world: World) -> None:
    """It was drawn only after that; who follows suggestions would flatter the model."""
    for name, origin in (("led", "prediction"), ("led too", "prediction-changed"), ("not", None)):
        world.annotate(world.queue(name, "lake"), "lake", origin=origin)
        world.queue(name, "lake", is_audit=True)
    model = _audit(world)["v1"]
    assert (model["drawn"], model["led"], model["accuracy"]["total"]) == (3, 2, 1)


def test_one_of_two_people_who_saw_a_suggestion_is_enough(world: World) -> None:
    world.annotate(world.queue("led", "lake"), "lake", who=1, origin="prediction")
    world.annotate(world.queue("led", "lake", is_audit=True), "lake", who=2)
    model = _audit(world)["v1"]
    assert (model["led"], model["accuracy"]["total"]) == (1, 0)


def test_what_was_drawn_is_told_by_its_own_object_not_by_the_task(world: World) -> None:
    """Two endpoints may draw one image: each object is of the first that wrote it."""
    image = world.queue("a", "road", version="old", is_audit=True)
    task = (world.folder / "queue" / task_key(image)).read_bytes()
    world.queue("a", "lake", version="new", is_audit=True)
    world.stores.queue.put(task_key(image), task)
    world.annotate(image, "lake")
    assert list(_audit(world)) == ["new"]
