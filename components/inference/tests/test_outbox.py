"""The outbox never holds anybody up, keeps trying, and says what it lost."""

from __future__ import annotations

import threading

import pytest

from components.inference.outbox import Outbox, Parcel
from components.inference.tests.telemetry_factories import wait_for
from shared.component.errors import StorageError


class Shelf:
    """A sink that fails as long as `error` is set and stands still while `gate` is closed."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.attempts = 0
        self.gate = threading.Event()
        self.gate.set()

    def put(self, key: str, data: bytes) -> None:
        self.attempts += 1
        assert self.gate.wait(30)
        if self.error:
            raise self.error
        self.objects[key] = data

    def exists(self, key: str) -> bool:
        return key in self.objects


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def outbox(shelf):
    box = Outbox(shelf, max_bytes=100, first_wait_s=0.01)
    yield box
    shelf.gate.set()
    box.close(0)


def parcel(name: str, size: int = 10) -> Parcel:
    return Parcel(name, bytes(size), size)


def test_parcels_arrive(shelf, outbox):
    outbox.add(parcel("a"))
    outbox.add(parcel("b"))
    wait_for(lambda: outbox.put == 2)
    assert list(shelf.objects) == ["a", "b"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StorageError("s3")])
def test_a_failing_put_is_tried_until_it_succeeds(shelf, outbox, error):
    shelf.error = error
    outbox.add(parcel("a"))
    wait_for(lambda: shelf.attempts >= 3)
    assert (outbox.put, outbox.lost) == (0, 0)
    shelf.error = None
    wait_for(lambda: outbox.put == 1)
    assert list(shelf.objects) == ["a"]


def test_the_waits_grow(shelf, outbox):
    shelf.error = OSError("no")
    outbox.add(parcel("a"))
    wait_for(lambda: shelf.attempts >= 2)
    threading.Event().wait(0.5)  # of 10 ms, 20, 40, ...: 6 attempts, not 50
    assert shelf.attempts <= 8


def test_the_oldest_are_lost_when_there_is_no_room(shelf, outbox):
    shelf.error = OSError("no")
    for name in "abcdefghijklm":
        outbox.add(parcel(name))
    assert outbox.lost == 3
    shelf.error = None
    wait_for(lambda: outbox.put == 10)
    assert sorted(shelf.objects) == list("defghijklm")


def test_adding_does_not_wait_for_a_sink_that_stands_still(shelf, outbox):
    shelf.gate.clear()
    for name in "abcdefghijklm":
        outbox.add(parcel(name))
    assert outbox.put == 0
    assert outbox.lost == 3


def test_an_object_that_is_there_stays_as_it_is(shelf, outbox):
    shelf.objects["a"] = b"old"
    outbox.add(Parcel("a", b"new", 3, is_new_only=True))
    wait_for(lambda: outbox.put == 1)
    assert shelf.objects["a"] == b"old"


def test_a_file_is_removed_once_it_is_put_and_only_then(shelf, outbox, tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"pixels")
    shelf.error = OSError("no")
    outbox.add(Parcel("a", path, 6))
    wait_for(lambda: shelf.attempts >= 2)
    assert path.exists()
    assert outbox.sources() == {path}
    shelf.error = None
    wait_for(lambda: not path.exists())
    assert shelf.objects == {"a": b"pixels"}
    assert outbox.sources() == set()


def test_a_file_that_is_gone_holds_nothing_up(outbox, shelf, tmp_path):
    outbox.add(Parcel("a", tmp_path / "absent", 6))
    outbox.add(parcel("b"))
    wait_for(lambda: outbox.put == 1)
    assert outbox.lost == 1
    assert list(shelf.objects) == ["b"]


def test_closing_brings_away_what_it_can(shelf):
    outbox = Outbox(shelf)
    for name in "abc":
        outbox.add(parcel(name))
    outbox.close(10)
    assert (outbox.put, outbox.lost) == (3, 0)


def test_closing_before_a_broken_sink_ends_in_time_and_counts(shelf):
    shelf.error = OSError("no")
    outbox = Outbox(shelf)
    outbox.add(parcel("a"))
    outbox.close(0.2)
    assert (outbox.put, outbox.lost) == (0, 1)
