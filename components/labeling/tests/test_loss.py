"""Labels whose answers vanish at once are kept until somebody says that it was meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.labeling.merge import run_merge
from components.labeling.tests.merge_world import CLASSES, World
from shared.component.errors import InputError


@pytest.fixture
def labelled(tmp_path: Path) -> World:
    """A world whose 40 labels count."""
    world = World(tmp_path)
    for number in range(40):
        world.annotate(world.queue(number), CLASSES[number % 3])
    world.merge()
    return world


def remove(world: World, count: int) -> None:
    for path in sorted((world.folder / "annotations").iterdir())[:count]:
        path.unlink()


def test_most_answers_gone_is_refused_and_nothing_written(labelled: World) -> None:
    remove(labelled, 21)
    before = labelled.written()
    with pytest.raises(InputError, match=r"answers behind 21 of 40 labels are gone.*--allow-loss"):
        labelled.merge()
    assert labelled.written() == before
    assert len(labelled.labels()) == 40


def test_a_wrong_queue_is_refused(labelled: World) -> None:
    elsewhere = replace(labelled.settings, queue="s3://capture/another")
    with pytest.raises(InputError, match="answers behind 40 of 40"):
        run_merge(elsewhere, labelled.stores)


def test_half_of_them_may_leave(labelled: World) -> None:
    remove(labelled, 20)
    labelled.merge()
    assert len(labelled.labels()) == 20


def test_who_means_it_says_so(labelled: World) -> None:
    remove(labelled, 40)
    run_merge(replace(labelled.settings, allow_loss=True), labelled.stores)
    assert labelled.labels() == {}


def test_a_few_labels_are_given_up_without_a_word(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(19):
        world.annotate(world.queue(number), CLASSES[0])
    world.merge()
    remove(world, 19)
    world.merge()
    assert world.labels() == {}


def test_what_people_no_longer_say_leaves_however_much_it_is(labelled: World) -> None:
    """Skipped on second thoughts: the answers are there, and are none."""
    for number in range(40):
        key = str(number + 1)
        digest = labelled.queue(number)
        labelled.annotate(digest, None, number=int(key), was_cancelled=True)
    labelled.merge()
    assert labelled.labels() == {}
