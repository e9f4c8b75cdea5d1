from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from components.fetch_data.component import run
from components.fetch_data.errors import ArchiveError, LayoutError
from components.fetch_data.sources import fetch
from shared.component.errors import StorageError, UsageError


def _run(tmp_path: Path, train: str | Path, **changes: object) -> dict:
    for name in ("raw", "labels"):
        (tmp_path / name).mkdir(exist_ok=True)
    values: dict = {"test": "", "annotations": "", "checksum": "", "max_download_gb": 1.0}
    values |= {"raw": tmp_path / "raw", "labels": tmp_path / "labels"} | changes
    run(train=str(train), **values)
    return json.loads((tmp_path / "raw" / "raw.json").read_text())


def test_fetches_an_archive_and_records_its_identity(write_zip, tmp_path: Path) -> None:
    archive = write_zip("train/sea/1.jpg", "train/street/1.jpg", "test/sea/2.jpg", "pred/3.jpg")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    document = _run(tmp_path, archive, checksum=digest)
    assert document["counts"] == {"train": {"sea": 1, "street": 1}, "test": {"sea": 1}}
    assert document["unlabelled"] == 1
    assert document["sources"]["train"]["archive_sha256"] == digest
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == [
        *("raw.json", "test", "train", "unlabelled")
    ]


def test_refuses_an_archive_with_another_checksum(write_zip, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="sha256"):
        _run(tmp_path, write_zip("sea/1.jpg", "street/1.jpg"), checksum="0" * 64)
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_separate_test_source_beats_the_test_folder_inside(write_tree, tmp_path: Path) -> None:
    train = write_tree("train/sea/1.jpg", "train/street/1.jpg", "test/sea/2.jpg")
    test = write_tree("seg_test/sea/8.jpg", "seg_test/street/9.jpg", folder="other")
    document = _run(tmp_path, train, test=str(test))
    assert document["counts"]["test"] == {"sea": 1, "street": 1}
    assert (tmp_path / "raw/test/sea/8.jpg").is_file()
    assert not (tmp_path / "raw/test/sea/2.jpg").exists()


def test_a_second_run_replaces_the_first(write_tree, tmp_path: Path) -> None:
    _run(tmp_path, write_tree("sea/1.jpg", "street/1.jpg"))
    document = _run(tmp_path, write_tree("cat/1.jpg", "dog/1.jpg", folder="pets"))
    assert document["counts"] == {"train": {"cat": 1, "dog": 1}}
    assert sorted(p.name for p in (tmp_path / "raw/train").iterdir()) == ["cat", "dog"]


def test_a_failed_run_leaves_nothing_to_trust(write_tree, tmp_path: Path) -> None:
    _run(tmp_path, write_tree("sea/1.jpg", "street/1.jpg"))
    with pytest.raises(LayoutError, match="no images in class folders"):
        _run(tmp_path, write_tree("readme.txt", folder="empty"))
    assert not (tmp_path / "raw" / "raw.json").exists()


def test_a_folder_that_holds_one_archive_is_unpacked(write_zip, tmp_path: Path) -> None:
    archive = write_zip("sea/1.jpg", "street/1.jpg")
    folder = tmp_path / "prefix"
    folder.mkdir()
    archive.rename(folder / "images.zip")
    assert _run(tmp_path, folder)["counts"]["train"] == {"sea": 1, "street": 1}


def test_fetches_from_kaggle_through_its_client(write_tree, tmp_path: Path) -> None:
    folder, asked = write_tree("sea/1.jpg"), []

    def download(handle: str) -> str:
        asked.append(handle)
        return str(folder)

    uri = "kaggle://owner/data-set/versions/2"
    source = fetch(uri, tmp_path / "scratch", 10**9, kaggle_download=download)
    assert asked == ["owner/data-set/versions/2"]
    assert source.folder == folder


def test_explains_what_kaggle_refuses(tmp_path: Path) -> None:
    def refuse(handle: str) -> str:
        raise ConnectionError(f"403 for {handle}")

    with pytest.raises(StorageError, match="KAGGLE_USERNAME"):
        fetch("kaggle://owner/private", tmp_path, 10**9, kaggle_download=refuse)
    with pytest.raises(UsageError, match="names no Kaggle data set"):
        fetch("kaggle://owner", tmp_path, 10**9, kaggle_download=refuse)


def test_the_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    uri = "sample://scenes?images=24&test=6&unlabelled=0&seed={}&size=32"
    first, again, other = (
        {
            path.relative_to(source.folder): path.read_bytes()
            for path in source.folder.rglob("*.jpg")
        }
        for source in (
            fetch(uri.format(seed), tmp_path / name, 10**9)
            for name, seed in (("first", 5), ("again", 5), ("other", 6))
        )
    )
    assert first == again
    assert first.keys() == other.keys()
    assert first != other


def test_the_sample_has_the_flaws_of_real_data(tmp_path: Path) -> None:
    document = _run(tmp_path, "sample://scenes?images=24&test=12&unlabelled=6&size=32")
    assert document["counts"]["train"]["sea"] == 5  # four and a copy
    train = tmp_path / "raw" / "train"
    half = io.BytesIO((train / "street/truncated.jpg").read_bytes())
    with pytest.raises(OSError, match=r"(?i)truncated"):
        Image.open(half).load()
    hashes = [hashlib.sha256(p.read_bytes()).hexdigest() for p in train.rglob("*.jpg")]
    assert len(hashes) - len(set(hashes)) == 2  # the copy, and the picture with two labels


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sample://cats", "unknown sample"),
        ("sample://scenes?image=3", "unknown key 'image'"),
        ("sample://scenes?images=many", "whole number"),
        ("sample://scenes?images=1", "from 12"),
        ("sample://scenes?size=", "whole number"),
    ],
)
def test_refuses_an_impossible_sample(uri: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        _run(tmp_path, uri)
