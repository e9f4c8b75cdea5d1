"""Storage against real HTTP: a moto server for S3 and a small web server, on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from shared.component import storage
from shared.component.errors import StorageError


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket with two images below data/ and one object beside it."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="images")
    objects = {"data/sea/1.jpg": b"one", "data/sea/2.jpg": b"two", "database": b"other"}
    for key, body in objects.items():
        client.put_object(Bucket="images", Key=key, Body=body)
    client.put_object(Bucket="images", Key="data/sea/", Body=b"")
    yield "images"
    for item in client.list_objects_v2(Bucket="images")["Contents"]:
        client.delete_object(Bucket="images", Key=item["Key"])
    client.delete_bucket(Bucket="images")
    client.close()


class _Site(BaseHTTPRequestHandler):
    """Serves /file; /flaky fails once, /short breaks off, /elsewhere redirects to http."""

    failures_left = 1

    def do_GET(self) -> None:
        if self.path.startswith("/flaky") and _Site.failures_left:
            _Site.failures_left -= 1
            self.send_error(503)
        elif self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "ftp://example.invalid/file")
            self.end_headers()
        elif self.path.startswith("/missing"):
            self.send_error(404)
        else:
            self.send_response(200)
            length = 2_000 if self.path.startswith("/short") else 1_000
            if not self.path.startswith("/unsized"):
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(b"x" * 1_000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_path_and_a_file_uri_stay_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a b.zip"
    file.write_bytes(b"zip")
    assert storage.download(str(file), tmp_path / "out") == file
    assert storage.download(f"file://{tmp_path}/a%20b.zip", tmp_path / "out") == file
    assert not (tmp_path / "out").exists()


def test_fetches_everything_below_a_prefix_and_nothing_beside_it(
    bucket: str, tmp_path: Path
) -> None:
    folder = storage.download(f"s3://{bucket}/data", tmp_path)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.jpg")}
    assert files == {"sea/1.jpg": b"one", "sea/2.jpg": b"two"}
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_fetches_one_object(bucket: str, tmp_path: Path) -> None:
    file = storage.download(f"s3://{bucket}/data/sea/1.jpg", tmp_path)
    assert file == tmp_path / "1.jpg"
    assert file.read_bytes() == b"one"


def test_tells_an_empty_prefix_from_a_filled_one(bucket: str) -> None:
    assert storage.is_empty(f"s3://{bucket}/nothing")
    assert not storage.is_empty(f"s3://{bucket}/data")


@pytest.mark.parametrize("place", ["images/nothing", "no-such-bucket/data"])
def test_names_what_is_missing_in_s3(bucket: str, tmp_path: Path, place: str) -> None:
    with pytest.raises(StorageError, match=f"nothing at s3://{place}"):
        storage.download(f"s3://{place}", tmp_path)


def test_refuses_s3_objects_beyond_the_limit(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="limit"):
        storage.download(f"s3://{bucket}/data", tmp_path, max_bytes=5)
    assert list(tmp_path.iterdir()) == []


def test_says_that_credentials_are_missing(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match="credentials"):
        storage.download("s3://images/data", tmp_path)


def test_a_folder_stands_in_for_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bucket" / "frozen").mkdir(parents=True)
    monkeypatch.setenv(storage.S3_ROOT_VARIABLE, str(tmp_path))
    assert storage.is_empty("s3://bucket/frozen")
    (tmp_path / "bucket" / "frozen" / "dataset.json").write_text("{}")
    assert not storage.is_empty("s3://bucket/frozen")
    assert storage.download("s3://bucket/frozen", tmp_path) == tmp_path / "bucket" / "frozen"


def test_fetches_a_web_file_after_a_failed_attempt(site: str, tmp_path: Path) -> None:
    file = storage.download(f"{site}/flaky/images.zip?token=secret", tmp_path)
    assert file == tmp_path / "images.zip"
    assert file.stat().st_size == 1_000


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing", "404"), ("file", "limit"), ("unsized", "limit"), ("elsewhere", "redirects")],
)
def test_refuses_a_web_file_and_leaves_nothing(
    site: str, tmp_path: Path, path: str, reason: str
) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        storage.download(f"{site}/{path}?token=secret", tmp_path, max_bytes=999)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_notices_a_download_that_broke_off(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_RETRY_WAITS_S", (0.0,))
    with pytest.raises(StorageError, match="cannot read"):
        storage.download(f"{site}/short", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["http://example.com/x.zip", "ftp://example.com/x", "gs://b/k"])
def test_refuses_other_schemes(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="use s3://"):
        storage.download(uri, tmp_path)


def test_names_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing at"):
        storage.download(str(tmp_path / "none"), tmp_path)
    assert storage.is_empty(str(tmp_path / "none"))
