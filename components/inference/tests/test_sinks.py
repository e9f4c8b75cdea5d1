"""Objects arrive whole, and trouble is named with its remedy."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from components.inference.sinks import FolderSink, NoSink, S3Sink, open_sink
from shared.component.errors import StorageError


def test_a_folder_takes_objects_by_key(tmp_path):
    sink = open_sink(str(tmp_path))
    assert not sink.exists("a/b.txt")
    sink.put("a/b.txt", b"one")
    sink.put("a/b.txt", b"two")
    assert sink.exists("a/b.txt")
    assert (tmp_path / "a/b.txt").read_bytes() == b"two"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_a_file_address_names_a_folder(tmp_path):
    sink = open_sink(f"file://{tmp_path}/with%20space")
    assert isinstance(sink, FolderSink)
    assert sink.folder == tmp_path / "with space"


def test_a_folder_stands_for_s3(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONLOOP_S3_ROOT", str(tmp_path))
    open_sink("s3://bucket/some/prefix").put("k", b"x")
    assert (tmp_path / "bucket/some/prefix/k").read_bytes() == b"x"


def test_no_sink_takes_everything():
    sink = open_sink("")
    assert isinstance(sink, NoSink)
    sink.put("k", b"x")
    assert not sink.exists("k")


@pytest.mark.parametrize("uri", ["https://example.com/x", "s3://", "ftp://host/x"])
def test_another_address_is_refused_with_a_remedy(uri):
    with pytest.raises(StorageError, match="use s3://"):
        open_sink(uri)


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("VISIONLOOP_S3_ROOT", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client


def test_s3_takes_objects_below_its_prefix(s3):
    sink = open_sink("s3://bucket/some/prefix/")
    assert isinstance(sink, S3Sink)
    assert not sink.exists("a/b")
    sink.put("a/b", b"x")
    assert sink.exists("a/b")
    assert s3.get_object(Bucket="bucket", Key="some/prefix/a/b")["Body"].read() == b"x"


def test_a_bucket_that_is_not_there_is_named(s3):
    with pytest.raises(StorageError, match=r"s3://absent/p/k.*s3:PutObject"):
        S3Sink(s3, "absent", "p").put("k", b"x")
