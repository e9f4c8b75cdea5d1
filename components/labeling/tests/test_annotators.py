"""How people label: gold, suggestions taken, blind images, speed."""

from __future__ import annotations

from typing import Any

from components.labeling.blind import is_blind
from components.labeling.decide import Rules
from components.labeling.tests.merge_world import World, sha256

SHARE = 0.3


def _person(world: World, name: str) -> dict[str, Any]:
    (found,) = (p for p in world.report()["annotators"] if p["name"] == name)
    return found


def test_who_does_not_know_gold_images_is_not_heard(world: World) -> None:
    world.gold(**{f"g{n}": "road" for n in range(5)})
    image = world.queue("a")
    for n in range(5):
        world.annotate(sha256(f"g{n}"), "road", who=1)
        world.annotate(sha256(f"g{n}"), "road" if n < 3 else "snow", who=2)
    world.annotate(image, "lake", who=1)
    world.annotate(image, "snow", who=2, ground_truth=True)
    world.merge()
    label = world.labels()[image]
    assert (label.label, label.annotators, label.decided_by) == ("lake", ("1",), "single")
    person = _person(world, "2")
    assert (person["is_left_out"], person["gold"]["hits"], person["gold"]["total"]) == (True, 3, 5)
    assert world.report()["answers"] == {"vote": 6, "annotator left out": 6}


def test_four_gold_images_are_too_few_to_leave_somebody_out(world: World) -> None:
    world.gold(**{f"g{n}": "road" for n in range(4)})
    image = world.queue("a")
    for n in range(4):
        world.annotate(sha256(f"g{n}"), "snow", who=2)
    world.annotate(image, "snow", who=2)
    world.merge()
    assert world.labels()[image].label == "snow"


def test_who_knows_just_as_many_gold_images_as_are_asked_for_is_heard(world: World) -> None:
    world.gold(**{f"g{n}": "road" for n in range(5)})
    for n in range(5):
        world.annotate(sha256(f"g{n}"), "road" if n else "snow")
    image = world.queue("a")
    world.annotate(image, "lake")
    world.merge()
    assert world.labels()[image].label == "lake"


def _blind_world(world: World) -> tuple[list[str], list[str]]:
    """Return suggested and blind images; the model says lake of all."""
    world.rules = Rules(blind_share=SHARE)
    images = [world.queue(n, "lake") for n in range(100)]
    blind = [image for image in images if is_blind(image, SHARE)]
    return [image for image in images if image not in blind], blind


def test_who_accepts_everything_is_visible(world: World) -> None:
    suggested, blind = _blind_world(world)
    assert len(blind) > 15
    for image in suggested:
        world.annotate(image, "lake", origin="prediction", lead_time=0.9)
    for n, image in enumerate(blind):
        world.annotate(image, "lake" if n % 2 else "road", origin="manual", lead_time=4.0)
    world.merge()
    person = _person(world, "1")
    assert person["accepted"]["share"] == person["with_suggestion"]["share"] == 1.0
    assert person["blind"]["total"] == len(blind)
    assert person["warning"].startswith("accepts everything: takes 100%")
    assert f"agrees without one on {len(blind) // 2} of {len(blind)}" in person["warning"]
    assert person["median_s"] == 0.9
    assert person["warning"] in (world.folder / "report/report.html").read_text()


def test_who_agrees_as_often_without_suggestions_is_not_accused(world: World) -> None:
    suggested, blind = _blind_world(world)
    for image in (*suggested, *blind):
        world.annotate(image, "lake", origin="prediction" if image in suggested else "manual")
    world.merge()
    assert _person(world, "1")["warning"] == ""


def test_a_hundredth_between_many_images_accuses_nobody(world: World) -> None:
    world.rules = Rules(blind_share=SHARE)
    images = [world.queue(n, "lake") for n in range(1000)]
    for n, image in enumerate(images):
        is_wrong = is_blind(image, SHARE) and n % 40 == 0
        world.annotate(image, "road" if is_wrong else "lake")
    world.merge()
    person = _person(world, "1")
    assert person["blind"]["high"] < 1.0
    assert person["warning"] == ""


def test_who_accepts_everything_but_gold_is_visible(world: World) -> None:
    world.gold(**{f"g{n}": "road" for n in range(10)})
    for n in range(10):
        world.annotate(sha256(f"g{n}"), "road" if n < 7 else "lake")
    for n in range(25):
        world.annotate(world.queue(n, "lake"), "lake", origin="prediction")
    world.rules = Rules(blind_share=0.0, min_gold=0.5)
    world.merge()
    assert "knows gold images 7 of 10" in _person(world, "1")["warning"]


def test_without_anything_to_compare_with_the_report_says_that(world: World) -> None:
    for n in range(25):
        world.annotate(world.queue(n, "lake"), "lake", origin="prediction")
    world.merge()
    assert "too few blind or gold images" in _person(world, "1")["warning"]


def test_a_correction_is_no_acceptance(world: World) -> None:
    """Label Studio says what became of a suggestion; without its word the labels do."""
    for number, (choice, origin) in enumerate(
        [("lake", "prediction"), ("road", "prediction-changed"), ("lake", None), ("road", None)]
    ):
        world.annotate(world.queue(number, "lake"), choice, origin=origin)
    world.merge()
    person = _person(world, "1")
    assert (person["accepted"]["hits"], person["accepted"]["total"]) == (2, 4)


def test_audit_images_are_no_blind_images(world: World) -> None:
    """Models are surer of them, so that agreement on them compares with nothing."""
    world.annotate(world.queue("drawn", is_audit=True), "lake")
    world.merge()
    person = _person(world, "1")
    assert (person["images"], person["blind"]["total"], person["accepted"]["total"]) == (1, 0, 0)


def test_skips_are_counted_by_person(world: World) -> None:
    world.annotate(world.queue("a"), None, who=5, was_cancelled=True)
    world.annotate(world.queue("b"), "road", who=5, lead_time=None)
    world.merge()
    person = _person(world, "5")
    assert (person["images"], person["skipped"], person["median_s"]) == (1, 1, None)


def test_pairs_are_compared_on_what_they_share(world: World) -> None:
    for n in range(24):
        image = world.queue(n)
        world.annotate(image, ("lake", "road")[n % 2], who=1)
        world.annotate(image, ("lake", "road")[n % 2] if n else "road", who=2)
    world.merge()
    (pair,) = world.report()["pairs"]
    assert (pair["first"], pair["second"], pair["shared"], pair["agreed"]) == ("1", "2", 24, 23)
    assert 0.9 < pair["kappa"] < 0.93
