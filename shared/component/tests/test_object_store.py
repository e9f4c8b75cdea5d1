"""One behaviour, two places: a folder, and S3 as moto has it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from shared.component.errors import StorageError
from shared.component.object_store import FolderStore, ObjectStore, S3Store, open_store


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("s3", "us-east-1")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, client: Any) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "place")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="pre/fix/folder/", Body=b"")
    client.put_object(Bucket="bucket", Key="pre/fixed", Body=b"a neighbour")
    return S3Store(client, "bucket", "pre/fix/")


def test_objects_are_listed_in_the_order_of_their_keys(store: ObjectStore) -> None:
    for key in ("b/2", "a", "b/10", "c/d/e", "b.txt"):
        store.put(key, key.encode())
    assert [e.key for e in store.list()] == ["a", "b.txt", "b/10", "b/2", "c/d/e"]
    assert [e.key for e in store.list("b/")] == ["b/10", "b/2"]
    assert [e.key for e in store.list("b/1")] == ["b/10"]
    assert [e.size for e in store.list("c/")] == [5]
    assert list(store.list("none/")) == []


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    """To merge, annotations that are not listed were deleted."""
    store = FolderStore(tmp_path / "place")
    store.put("a/1", b"one")
    store.folder.joinpath("a").rename(store.folder / "b")
    store.folder.joinpath("a").symlink_to("a")  # a loop, which root may not list either
    with pytest.raises(StorageError, match="no access"):
        list(store.list("a/"))


def test_an_object_that_changes_has_another_etag(store: ObjectStore) -> None:
    store.put("k", b"one")
    (before,) = store.list()
    store.put("k", b"two")
    (after,) = store.list()
    assert before.etag != after.etag


def test_what_is_not_there_is_none(store: ObjectStore) -> None:
    assert store.get("k") is None
    assert store.read("k") is None
    store.put("k", b"v")
    assert store.get("k") == b"v"


def test_only_the_first_of_two_new_ones_is_put(store: ObjectStore) -> None:
    assert store.put_new("k", b"one")
    assert not store.put_new("k", b"two")
    assert store.get("k") == b"one"


def test_a_change_made_meanwhile_is_noticed(store: ObjectStore) -> None:
    store.put("k", b"one")
    found = store.read("k")
    assert found
    store.put("k", b"two")
    assert not store.put_match("k", b"mine", found[1])
    assert store.get("k") == b"two"
    found = store.read("k")
    assert found
    assert store.put_match("k", b"mine", found[1])
    assert store.get("k") == b"mine"


def test_what_has_gone_meanwhile_is_not_put(store: ObjectStore) -> None:
    assert not store.put_match("k", b"mine", '"0123456789abcdef"')
    assert store.get("k") is None


class _Meeting(FolderStore):
    """A writer that has looked waits for a second one, which must not get so far."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.writers = threading.Barrier(2)
        self.puts = 0

    def put(self, key: str, data: bytes) -> None:
        self.puts += 1
        with contextlib.suppress(threading.BrokenBarrierError):
            self.writers.wait(timeout=0.3)
        super().put(key, data)


@pytest.mark.parametrize("is_new", [True, False])
def test_of_two_writers_at_once_one_wins(tmp_path: Path, is_new: bool) -> None:
    store = _Meeting(tmp_path)
    etag = ""
    if not is_new:
        FolderStore(tmp_path).put("k", b"before")
        etag = hashlib.sha256(b"before").hexdigest()

    def write(number: int) -> bool:
        data = str(number).encode()
        return store.put_new("k", data) if is_new else store.put_match("k", data, etag)

    with ThreadPoolExecutor(2) as writers:
        won = list(writers.map(write, range(2)))
    assert sorted(won) == [False, True]
    assert store.puts == 1
    assert store.get("k") == str(won.index(True)).encode()


def test_a_bucket_that_is_not_there_is_named_with_a_remedy(client: Any) -> None:
    store = S3Store(client, "nowhere", "")
    with pytest.raises(StorageError, match=r"s3://nowhere/.*s3:ListBucket"):
        list(store.list())
    with pytest.raises(StorageError, match="s3:PutObject"):
        store.put("k", b"")


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="no access to"):
        FolderStore(tmp_path / "file").put("k", b"")


def test_a_folder_stands_for_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLOOP_S3_ROOT", str(tmp_path))
    open_store("s3://bucket/some/prefix").put("k", b"x")
    assert (tmp_path / "bucket/some/prefix/k").read_bytes() == b"x"


@pytest.mark.parametrize("uri", ["", "https://example.com/x", "s3://", "ftp://host/x"])
def test_another_address_is_refused_with_a_remedy(uri: str) -> None:
    with pytest.raises(StorageError, match="use s3://"):
        open_store(uri)
