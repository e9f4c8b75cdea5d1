"""An upload takes images into an open set, and nothing else anywhere else."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from components.web.errors import BadInput, Conflict, NotFound
from components.web.operator.datasets import Datasets, checked_path

JPEG = b"\xff\xd8\xff and so on"


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(str(tmp_path / "raw"), None)


def test_a_set_is_open_until_it_is_complete(datasets, tmp_path):
    assert datasets.open("photos").count == 0
    datasets.put("photos", "cats/1.jpg", JPEG)
    datasets.put("photos", "dogs/1.JPG", JPEG)
    datasets.put("photos", "dogs/1.JPG", JPEG)  # once more: an upload that went on
    found = datasets.get("photos")
    assert found.classes == {"cats": 1, "dogs": 1}
    assert [f.size for f in found.files] == [len(JPEG)] * 2
    assert not found.is_complete
    assert datasets.complete("photos", files=2).is_complete
    assert (tmp_path / "raw" / "photos" / "_SUCCESS").is_file()


def test_a_complete_set_never_changes(datasets):
    datasets.put("photos", "cats/1.jpg", JPEG)
    datasets.complete("photos", files=1)
    for change in (
        lambda: datasets.put("photos", "cats/2.jpg", JPEG),
        lambda: datasets.open("photos"),
        lambda: datasets.complete("photos", files=1),
    ):
        with pytest.raises(Conflict, match="complete and never changes"):
            change()


def test_only_what_was_shown_is_completed(datasets):
    with pytest.raises(Conflict, match="holds no image"):
        datasets.complete("photos", files=0)
    datasets.put("photos", "cats/1.jpg", JPEG)
    with pytest.raises(Conflict, match="holds 1 images, not 2"):
        datasets.complete("photos", files=2)


@pytest.mark.parametrize(
    "path",
    [
        "1.jpg",
        "../cats/1.jpg",
        "cats/../../1.jpg",
        "/cats/1.jpg",
        "cats//1.jpg",
        "cats/./1.jpg",
        "cats/.hidden.jpg",
        "cats\\1.jpg/x.jpg",
        "cats/1\n.jpg",
        "cats/1\0.jpg",
        "cats /1.jpg",
        "cats./1.jpg",
        "a/b/c/d/e/1.jpg",
        f"cats/{'a' * 120}.jpg",
        f"cats/{'ä' * 99}ab.jpg",
        f"{'日' * 80}/1.jpg",
        "cats/1.exe",
        "cats/1.svg",
        "cats/jpg",
        "_SUCCESS",
        "cats/_SUCCESS",
    ],
)
def test_an_odd_path_is_refused(datasets, path, tmp_path):
    with pytest.raises(BadInput):
        datasets.put("photos", path, JPEG)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("path", ["cats/1.jpg", "train/Bäume am See/IMG (1).JPEG", "a/b/c/d/1.png"])
def test_names_of_people_are_taken(path):
    assert checked_path(path) in (".jpg", ".jpeg", ".png")


@pytest.mark.parametrize(("path", "data"), [("a/1.png", JPEG), ("a/1.jpg", b""), ("a/1.gif", b"<")])
def test_what_is_no_such_image_is_refused(datasets, path, data):
    with pytest.raises(BadInput):
        datasets.put("photos", path, data)


@pytest.mark.parametrize("name", ["", "..", "a/b", "-a", "a" * 64, "a b", "a\n"])
def test_an_odd_name_is_refused(datasets, name):
    with pytest.raises(BadInput, match="is no name"):
        datasets.open(name)


def test_switched_off_that_is_said():
    with pytest.raises(NotFound, match="--raw"):
        Datasets("", None).get("photos")


def test_without_s3_no_file_goes_there(datasets):
    with pytest.raises(Conflict, match="there is no S3"):
        datasets.upload("photos", "cats/1.jpg")


@mock_aws
def test_on_s3_a_large_file_has_a_form_of_its_own():
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="data")
    datasets = Datasets("s3://data/raw", client)
    upload = datasets.upload("photos", "cats/1.tif")
    assert upload.fields["key"] == "raw/photos/cats/1.tif"
    datasets.put("photos", "cats/1.jpg", JPEG)
    assert datasets.get("photos").uploads
    datasets.complete("photos", files=1)
    keys = [o["Key"] for o in client.list_objects_v2(Bucket="data")["Contents"]]
    assert keys == ["raw/photos/_SUCCESS", "raw/photos/cats/1.jpg"]
    with pytest.raises(Conflict, match="complete"):
        datasets.upload("photos", "cats/2.tif")
