"""From what Label Studio wrote to labels: who is heard, what is held, what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from components.labeling.merge import MergeStores
from components.labeling.tests.merge_world import World, body, sha256
from shared.component.annotation_manifest import CURRENT
from shared.component.errors import InputError, StorageError
from shared.component.object_store import FolderStore
from shared.component.review_queue import GOLD, audit_key, task_key


def test_one_persons_answer_is_a_label_with_its_origin(world: World) -> None:
    image = world.queue("a")
    key = world.annotate(image, "road", who=7)
    outcome = world.merge()
    (label,) = world.labels().values()
    assert (label.sha256, label.label, label.decided_by) == (image, "road", "single")
    assert (label.annotators, label.annotations) == (("7",), (key,))
    assert label.image == f"s3://capture/endpoint/review/images/{image}.jpg"
    assert (outcome.images, outcome.is_changed) == (1, True)


def test_the_majority_decides(world: World) -> None:
    image = world.queue("a")
    for who, choice in enumerate(("road", "snow", "road"), start=1):
        world.annotate(image, choice, who=who)
    world.merge()
    label = world.labels()[image]
    assert (label.label, label.decided_by, label.annotators) == ("road", "majority", ("1", "3"))


def test_a_persons_last_vote_counts(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road", who=1)
    world.annotate(image, "snow", who=2)
    world.annotate(image, "snow", who=1)
    world.merge()
    assert world.labels()[image].label == "snow"


def test_a_changed_answer_changes_the_labels_and_asks_anew(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road", number=5)
    before = world.merge()
    world.annotate(image, "snow", number=5, updated_at="2026-01-02T00:00:00Z")
    after = world.merge()
    assert world.labels()[image].label == "snow"
    assert after.is_changed
    assert before.fingerprint != after.fingerprint
    assert (world.folder / "labels" / f"{before.fingerprint}.json").exists()


def test_a_deleted_answer_does_not_count(world: World) -> None:
    first, second = world.queue("a"), world.queue("b")
    world.annotate(first, "road")
    key = world.annotate(second, "road")
    world.merge()
    (world.folder / "annotations" / key).unlink()
    world.merge()
    assert set(world.labels()) == {first}


def test_the_last_answer_deleted_leaves_an_empty_manifest(world: World) -> None:
    key = world.annotate(world.queue("a"), "road")
    world.merge()
    (world.folder / "annotations" / key).unlink()
    assert world.merge().is_changed
    assert world.labels() == {}


def test_people_who_disagree_wait_for_adjudication(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road", who=1)
    world.annotate(image, "snow", who=2)
    assert world.merge().fingerprint == ""
    assert not (world.folder / "labels" / CURRENT).exists()
    assert world.report()["to_adjudicate"]["count"] == 1
    world.annotate(image, "lake", who=3, ground_truth=True)
    world.merge()
    label = world.labels()[image]
    assert (label.label, label.decided_by, label.annotators) == ("lake", "adjudication", ("3",))
    assert world.report()["to_adjudicate"]["count"] == 0


def test_an_adjudicators_word_beats_votes(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "snow", who=9, ground_truth=True)
    for who in (1, 2, 3):
        world.annotate(image, "road", who=who)
    world.merge()
    assert world.labels()[image].label == "snow"


@pytest.mark.parametrize(
    ("choice", "changes", "reason"),
    [
        ("road", {"was_cancelled": True}, "skipped"),
        (None, {}, "empty answer"),
        ("moon", {}, "unknown label"),
        (
            "road",
            {"result": [{"type": "choices", "value": {"choices": ["road", "snow"]}}]},
            "several labels",
        ),
        (
            "road",
            {"task": {"id": 1, "data": {"image": f"s3://other/review/images/{sha256(1)}.jpg"}}},
            "image not in the queue",
        ),
        (
            "road",
            {"task": {"id": 1, "data": {"image": "s3://capture/endpoint/review/images/x.jpg"}}},
            "image not in the queue",
        ),
        (
            "road",
            {
                "task": {
                    "id": 1,
                    "data": {"image": f"s3://capture/endpoint/review/images/../{sha256(1)}.jpg"},
                }
            },
            "image not in the queue",
        ),
    ],
)
def test_what_is_no_vote_is_counted(world: World, choice, changes, reason: str) -> None:
    world.annotate(world.queue("a"), choice, **changes)
    assert world.merge().images == 0
    assert world.report()["answers"] == {reason: 1}


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b'{"id": 1}', b"null", b"[" * 100_000])
def test_an_object_that_is_no_annotation_is_named(world: World, data: bytes) -> None:
    image = world.queue("a")
    world.annotate(image, "road")
    world.stores.annotations.put("odd", data)
    world.merge()
    assert set(world.labels()) == {image}
    assert world.report()["unreadable"] == {"count": 1, "keys": ["odd"]}


class _Unread(FolderStore):
    """A place of which one object must not be read."""

    def get(self, key: str) -> bytes | None:
        assert key != "huge"
        return super().get(key)


def test_an_object_that_would_fill_the_memory_is_named_and_not_read(world: World) -> None:
    image = world.queue("a")
    world.annotate(image, "road")
    with (world.folder / "annotations" / "huge").open("wb") as file:
        file.truncate(33 << 20)
    unread = _Unread(world.folder / "annotations")
    whole = world.stores
    world.merge(MergeStores(whole.queue, unread, whole.labels, whole.report))
    assert set(world.labels()) == {image}
    assert world.report()["unreadable"] == {"count": 1, "keys": ["huge"]}
    assert world.report()["objects"] == 2


def test_an_image_waits_for_its_task_which_may_say_that_it_is_of_the_audit(world: World) -> None:
    world.queue("known")  # so that the label is known
    world.annotate(sha256("known"), "road")
    world.annotate(sha256("early"), "road")
    world.merge()
    assert set(world.labels()) == {sha256("known")}
    assert world.report()["answers"] == {"vote": 1, "task not there yet": 1}
    world.queue("early")
    world.merge()
    assert set(world.labels()) == {sha256("known"), sha256("early")}


def test_a_damaged_task_keeps_its_image_out_and_is_named(world: World) -> None:
    image, other = world.queue("a"), world.queue("b")
    world.annotate(image, "road")
    world.annotate(other, "road")
    world.stores.queue.put(task_key(image), b"{}")
    world.merge()
    assert set(world.labels()) == {other}
    assert world.report()["damaged_tasks"]["keys"] == [task_key(image)]


def test_gold_images_are_never_trained_on(world: World) -> None:
    image, known = world.queue("a"), world.queue("known")
    world.gold(known="road")
    world.annotate(image, "road")
    world.annotate(known, "road")
    world.merge()
    assert set(world.labels()) == {image}


def test_a_damaged_gold_list_stops_the_merge(world: World) -> None:
    """Without the list its images would be trained on."""
    world.annotate(world.queue("a"), "road")
    for data in (b"not json", b"[]", b'{"schema": 2, "gold": {}}'):
        world.stores.queue.put(GOLD, data)
        with pytest.raises(InputError, match=r"gold\.json"):
            world.merge()
    assert not (world.folder / "labels" / CURRENT).exists()


@pytest.mark.parametrize("place", ["object", "reason", "damaged"])
def test_an_audit_image_is_never_trained_on(world: World, place: str) -> None:
    image, drawn = world.queue("a"), world.queue("drawn", is_audit=place != "damaged")
    if place == "reason":
        (world.folder / "queue" / audit_key(drawn)).unlink()
    if place == "damaged":
        world.stores.queue.put(audit_key(drawn), b"half a tas")
    for digest in (image, drawn):
        world.annotate(digest, "road", ground_truth=True)
    world.merge()
    assert set(world.labels()) == {image}


def test_an_image_drawn_for_the_audit_later_leaves_and_the_report_says_so(world: World) -> None:
    image, drawn = world.queue("a"), world.queue("drawn")
    for digest in (image, drawn):
        world.annotate(digest, "road")
    world.merge()
    assert set(world.labels()) == {image, drawn}
    world.queue("drawn", is_audit=True)
    assert world.merge().is_changed
    assert set(world.labels()) == {image}
    changes = world.report()["changes"]
    assert (changes["left"], changes["left_for_audit"]) == (1, 1)
    page = (world.folder / "report/report.html").read_text()
    assert "after they had been labels for training: 1." in page


def test_nothing_labelled_asks_for_nothing(world: World) -> None:
    assert world.merge().fingerprint == ""
    assert world.report()["labels"] == 0
    assert not (world.folder / "labels").exists()


def test_a_merge_that_finds_nothing_new_writes_nothing(world: World) -> None:
    """Label Studio's sync rewrites every object, and their bodies change."""
    image = world.queue("a")
    world.annotate(image, "road", number=1)
    first = world.merge()
    world.merge()  # the report now compares with the manifest of the first
    before = world.written()
    world.annotate(image, "road", number=1, created_ago="3 days, 2 hours")
    again = world.merge()
    assert (again.fingerprint, again.is_changed) == (first.fingerprint, False)
    assert world.written() == before


class _Dies(FolderStore):
    """A store whose process dies before a write that `is_fatal` names."""

    def __init__(self, store: FolderStore, is_fatal: Callable[[str], bool]) -> None:
        super().__init__(store.folder)
        self._is_fatal = is_fatal

    def put(self, key: str, data: bytes) -> None:
        if self._is_fatal(key):
            raise StorageError("the process died")
        super().put(key, data)


@pytest.mark.parametrize("died_before", [CURRENT, "manifest", "report.json", "report.html"])
def test_a_merge_that_died_between_two_writes_is_made_good(world: World, died_before: str) -> None:
    def is_fatal(key: str) -> bool:
        return key == died_before or (died_before == "manifest" and len(key) == 69)

    world.annotate(world.queue("a"), "road")
    whole = world.stores
    dying = MergeStores(
        whole.queue,
        whole.annotations,
        _Dies(whole.labels, is_fatal),
        _Dies(whole.report, is_fatal),
    )
    with pytest.raises(StorageError, match="died"):
        world.merge(dying)
    assert not (world.folder / "labels" / CURRENT).exists()
    assert world.merge().is_changed
    assert len(world.labels()) == world.report()["labels"] == 1
    assert "<title>Labels</title>" in (world.folder / "report/report.html").read_text()


class _Failing(FolderStore):
    """A place that lists its objects and refuses one."""

    def get(self, key: str) -> bytes | None:
        if key == "2":
            raise StorageError("store: no access")
        return super().get(key)


def test_a_network_that_fails_is_no_deletion(world: World) -> None:
    images = [world.queue(name) for name in "abc"]
    for image in images:
        world.annotate(image, "road")
    world.merge()
    before = world.current()
    world.annotate(images[1], "road", number=2, created_ago="1 hour")
    whole = world.stores
    failing = MergeStores(whole.queue, _Failing(world.folder / "annotations"), whole.labels)
    with pytest.raises(StorageError, match="no access"):
        world.merge(failing)
    assert world.current() == before


class _Vanishing(FolderStore):
    """An object is deleted after it was listed."""

    def get(self, key: str) -> bytes | None:
        return None if key == "2" else super().get(key)


def test_an_object_deleted_while_reading_is_simply_not_there(world: World) -> None:
    images = [world.queue(name) for name in "ab"]
    for image in images:
        world.annotate(image, "road")
    whole = world.stores
    world.merge(MergeStores(whole.queue, _Vanishing(world.folder / "annotations"), whole.labels))
    assert set(world.labels()) == {images[0]}


class _Losing(FolderStore):
    """A task is removed after it was listed."""

    def get(self, key: str) -> bytes | None:
        return None if "/tasks/" in key else super().get(key)


def test_a_task_removed_while_reading_is_waited_for(world: World) -> None:
    image = world.queue("a")
    world.gold(other="road")  # so that the label is known
    world.annotate(image, "road")
    whole = world.stores
    losing = MergeStores(_Losing(world.folder / "queue"), *(whole.annotations, whole.labels))
    assert world.merge(losing).decision.answers == {"task not there yet": 1}
    assert world.merge().images == 1


def test_a_removed_manifest_is_written_again(world: World) -> None:
    world.annotate(world.queue("a"), "road")
    fingerprint = world.merge().fingerprint
    (world.folder / "labels" / f"{fingerprint}.json").unlink()
    assert not world.merge().is_changed
    assert len(world.labels()) == 1


def test_a_json_export_beside_the_objects_is_read_too(world: World) -> None:
    image = world.queue("a")
    answers = [body(n, image, "road", who=n) for n in (1, 2)]
    task = answers[0]["task"]
    export = [{"id": task["id"], "data": task["data"], "annotations": answers}]
    world.stores.annotations.put("export.json", json.dumps(export).encode())
    world.merge()
    assert (world.labels()[image].label, world.labels()[image].annotators) == ("road", ("1", "2"))
