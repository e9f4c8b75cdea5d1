"""Days on which people agree too little are held back, but for what was adjudicated."""

from __future__ import annotations

from components.labeling.decide import Rules
from components.labeling.tests.merge_world import World
from shared.component.review_queue import task_key


def _noisy_day(world: World, day: int, disagreements: int) -> list[str]:
    """Forty images that two people labelled, of which they disagree on so many."""
    images = [world.queue(f"{day}/{n}", day=day) for n in range(40)]
    for n, image in enumerate(images):
        label = ("lake", "road")[n % 2]
        world.annotate(image, label, who=1)
        world.annotate(image, "snow" if n < disagreements else label, who=2)
    return images


def test_a_batch_that_people_disagree_on_is_held_back(world: World) -> None:
    good, bad = _noisy_day(world, 0, disagreements=2), _noisy_day(world, 1, disagreements=20)
    world.merge()
    assert set(world.labels()) == set(good[2:])
    batches = {batch["day"]: batch for batch in world.report()["batches"]}
    assert [batch["is_held"] for batch in batches.values()] == [False, True]
    assert sorted(batches) == ["2024-10-04", "2024-10-05"]
    world.annotate(bad[0], "road", who=3, ground_truth=True)
    world.merge()
    assert set(world.labels()) == {*good[2:], bad[0]}


def test_agreement_that_cannot_be_measured_holds_nothing(world: World) -> None:
    """Too few shared images, or one label alone."""
    world.rules = Rules(blind_share=0.0, min_shared=41)
    images = _noisy_day(world, 0, disagreements=20)
    world.merge()
    assert set(world.labels()) == set(images[20:])
    (batch,) = world.report()["batches"]
    assert (batch["alpha"], batch["is_held"], batch["shared"]) == (None, False, 40)


def test_as_many_shared_images_as_are_asked_for_are_enough(world: World) -> None:
    world.rules = Rules(blind_share=0.0, min_shared=40)
    _noisy_day(world, 0, disagreements=20)
    world.merge()
    (batch,) = world.report()["batches"]
    assert (batch["shared"], batch["is_held"]) == (40, True)


def test_gold_images_that_were_queued_hold_no_batch(world: World) -> None:
    """They measure people, one by one; a batch is held for what may become labels."""
    images = _noisy_day(world, 0, disagreements=20)
    world.gold(**{f"0/{n}": "snow" for n in range(20)})
    world.rules = Rules(blind_share=0.0, min_shared=20, min_gold=0.0)
    world.merge()
    assert set(world.labels()) == set(images[20:])
    assert [batch["images"] for batch in world.report()["batches"]] == [20]


def test_an_image_drawn_later_stays_in_the_batch_of_the_day_it_was_queued(world: World) -> None:
    images = _noisy_day(world, 0, disagreements=0)
    task = (world.folder / "queue" / task_key(images[0])).read_bytes()
    world.queue("0/0", day=5, is_audit=True)
    world.stores.queue.put(task_key(images[0]), task)
    world.merge()
    assert [batch["images"] for batch in world.report()["batches"]] == [40]
