"""Quick reads over real HTTP against moto: the same bytes, and boto3 for all that is unusual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from shared.component.errors import StorageError
from shared.component.object_store import S3Store, open_store
from shared.component.quick_reads import QuickReads


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("VISIONLOOP_S3_ROOT", raising=False)
    boto3.client("s3").create_bucket(Bucket="quick")
    yield f"http://{host}:{port}"
    server.stop()


class _Counting:
    """boto3's client, with its own reads counted."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        self.reads += name == "get_object"
        return getattr(self.client, name)


def _client() -> _Counting:
    return _Counting(boto3.client("s3", config=Config(signature_version="s3v4")))


@pytest.mark.parametrize("key", ["17", "a b+c/ü&?#%.json"])
def test_an_object_is_read_without_boto3(endpoint: str, key: str) -> None:
    client = _client()
    store = S3Store(client, "quick", "pre", QuickReads(client, 4))
    store.put(key, b"bytes")
    assert store.get(key) == b"bytes"
    assert client.reads == 0


def test_what_is_not_there_is_asked_of_boto3(endpoint: str) -> None:
    client = _client()
    store = S3Store(client, "quick", "", QuickReads(client, 4))
    assert store.get("gone") is None
    assert client.reads == 1
    with pytest.raises(StorageError, match="s3:GetObject"):
        S3Store(client, "nowhere", "", QuickReads(client, 4)).get("k")


def test_trouble_on_the_way_leaves_everything_to_boto3(endpoint: str) -> None:
    """As behind a proxy, which boto3 knows of."""
    client = _client()
    quick = QuickReads(_Elsewhere(), 4)
    store = S3Store(client, "quick", "", quick)
    store.put("k", b"bytes")
    assert [store.get("k"), store.get("k")] == [b"bytes", b"bytes"]
    assert (client.reads, quick.is_on) == (2, False)


class _Elsewhere:
    """Signs addresses at which nobody listens."""

    def generate_presigned_url(self, *_: Any, **__: Any) -> str:
        return "http://127.0.0.1:1/quick/k"


def test_a_store_of_its_own_reads_quickly(endpoint: str) -> None:
    store = open_store("s3://quick/pre")
    store.put("k", b"v")
    assert store.get("k") == b"v"
    assert isinstance(store, S3Store)
    assert store._quick is not None
    assert store._quick.is_on
