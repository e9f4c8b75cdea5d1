"""Labels that the labelling component's merge decided: the very images, the very labels."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from components.fetch_data.annotations import collect
from components.fetch_data.errors import AwayError, LayoutError
from components.fetch_data.label_images import Wanted, fetch_images
from shared.component.annotation_manifest import Label, Manifest, fingerprint
from shared.component.errors import InputError, StorageError

LIMIT = 10**6


def _label(image: str, data: bytes, **changes: Any) -> Label:
    digest = hashlib.sha256(data).hexdigest()
    fields = {
        "sha256": digest,
        "image": image,
        "label": "sea",
        "annotators": ("1", "2"),
        "annotations": ("7", "8"),
        "decided_by": "majority",
    }
    return Label(**fields | changes)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "queue" / "1.JPG"
    path.parent.mkdir()
    path.write_bytes(b"an image")
    return path


def _write(folder: Path, *labels: Label) -> Path:
    data = Manifest("s3://data/annotations", {}, labels).encode()
    path = folder / f"{fingerprint(data)}.json"
    path.write_bytes(data)
    return path


def _collect(source: Path, tmp_path: Path) -> dict[str, Any]:
    labels = tmp_path / "labels"
    labels.mkdir(exist_ok=True)
    collect(str(source), tmp_path / "scratch", labels, LIMIT)
    document: dict[str, Any] = json.loads((labels / "annotations.json").read_text())
    return document


def test_labels_come_with_their_images_and_annotators(image: Path, tmp_path: Path) -> None:
    label = _label(str(image), b"an image")
    source = _write(tmp_path, label)
    document = _collect(source, tmp_path)
    assert (document["objects"], document["fingerprint"]) == (1, source.stem)
    (found,) = document["labels"]
    assert (found["label"], found["annotators"]) == ("sea", ["1", "2"])
    assert found["image_file"] == f"images/{label.sha256}.jpg"
    assert (tmp_path / "labels" / found["image_file"]).read_bytes() == b"an image"
    assert "annotations" not in document


def test_an_image_that_was_exchanged_is_missing_by_name(image: Path, tmp_path: Path) -> None:
    other = image.with_name("2.jpg")
    other.write_bytes(b"another image")
    source = _write(tmp_path, _label(str(image), b"an image"), _label(str(other), b"as labelled"))
    document = _collect(source, tmp_path)
    assert [bool(item["image_file"]) for item in document["labels"]].count(True) == 1
    assert "not the image that was labelled" in document["missing_images"][str(other)]
    assert len(list((tmp_path / "labels/images").iterdir())) == 1


def test_a_manifest_none_of_whose_images_can_be_read_is_an_error(tmp_path: Path) -> None:
    """A role that may not read the queue must not look like people who gave no labels."""
    source = _write(tmp_path, _label(str(tmp_path / "gone.jpg"), b"x"))
    with pytest.raises(StorageError, match="none of the 1 images"):
        _collect(source, tmp_path)


def test_a_manifest_that_is_not_what_its_name_says_is_refused(image: Path, tmp_path: Path) -> None:
    source = _write(tmp_path, _label(str(image), b"an image"))
    source.write_bytes(source.read_bytes().replace(b'"sea"', b'"ice"'))
    with pytest.raises(LayoutError, match="not the manifest that its name says"):
        _collect(source, tmp_path)


def test_a_manifest_of_any_other_name_is_read(image: Path, tmp_path: Path) -> None:
    source = _write(tmp_path, _label(str(image), b"an image")).rename(tmp_path / "mine.json")
    assert _collect(source, tmp_path)["objects"] == 1


def test_an_empty_manifest_is_no_error(tmp_path: Path) -> None:
    assert _collect(_write(tmp_path), tmp_path)["labels"] == []


def test_a_manifest_of_another_schema_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "labels.json"
    source.write_text('{"kind": "annotation-manifest", "schema": 9}')
    with pytest.raises(InputError, match="no annotation manifest"):
        _collect(source, tmp_path)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="capture")
        yield client


def test_images_come_from_s3_and_what_is_wrong_is_said_of_each(bucket: Any, tmp_path: Path) -> None:
    for name, size in (("good", 10), ("large", LIMIT + 1)):
        bucket.put_object(Bucket="capture", Key=f"q/{name}.png", Body=b"x" * size)
    wanted = [Wanted(n, f"s3://capture/q/{n}.png") for n in ("good", "large", "gone")]
    files, missing = fetch_images(wanted, tmp_path, tmp_path / "scratch", tmp_path, LIMIT)
    assert files == {"s3://capture/q/good.png": "images/good.png"}
    assert (tmp_path / "images/good.png").read_bytes() == b"x" * 10
    assert "the limit is" in missing["s3://capture/q/large.png"]
    assert "s3:GetObject" in missing["s3://capture/q/gone.png"]


class _SlowDown(BaseHTTPRequestHandler):
    """S3 that is asked too much."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("is_answered", [True, False])
def test_s3_that_fails_meanwhile_is_no_missing_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_answered: bool
) -> None:
    """A run would take the labels that are left for all there are."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowDown)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    if is_answered:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        server.server_close()
    here = tmp_path / "here.png"
    here.write_bytes(b"x")
    wanted = [Wanted("a", str(here)), Wanted("b", "s3://capture/b.png")]
    try:
        with pytest.raises(AwayError, match="when S3 is there"):
            fetch_images(wanted, tmp_path, tmp_path / "scratch", tmp_path / "labels", LIMIT)
    finally:
        if is_answered:
            server.shutdown()
            server.server_close()


def test_a_folder_may_stand_for_some_of_s3(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the local backend has it: what is not below the folder is asked of S3 itself."""
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    (root / "data" / "a.png").write_bytes(b"here")
    monkeypatch.setenv("VISIONLOOP_S3_ROOT", str(root))
    bucket.put_object(Bucket="capture", Key="b.png", Body=b"there")
    wanted = [Wanted("a", "s3://data/a.png"), Wanted("b", "s3://capture/b.png")]
    files, missing = fetch_images(wanted, tmp_path, tmp_path / "scratch", tmp_path, LIMIT)
    assert (len(files), missing) == (2, {})
