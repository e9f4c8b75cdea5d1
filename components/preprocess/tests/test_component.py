"""The whole step on files as they really are."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.preprocess.tests.factories import encoded, picture
from shared.vision.dataset import Dataset
from shared.vision.errors import DatasetError


def _sources(out: Path, *splits: str) -> dict[str, str]:
    """Return the split of every image by its source."""
    dataset = Dataset.open(out / "dataset")
    return {
        record["source"]: split
        for split in splits or dataset.info.shards
        if dataset.info.shards[split]
        for record in dataset.split(split).records()
    }


def _files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def _png_of_many_pixels() -> bytes:
    """A bomb: a header that claims 10^10 pixels before a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


def test_packs_every_split_and_reports_it(raw, preprocess) -> None:
    raw.fill("train")
    raw.fill("test", count=3)
    raw.add("unlabelled/1.jpg", encoded(picture(7777)))
    out, report = preprocess()
    dataset = Dataset.open(out / "dataset")
    assert dataset.classes == ("sea", "street")
    assert dataset.info.counts["train"] == {"sea": 8, "street": 8}
    assert dataset.info.counts["val"] == {"sea": 2, "street": 2}
    assert dataset.info.counts["test"] == {"sea": 3, "street": 3}
    assert report["images"] == dataset.info.counts
    test = dataset.split("test")
    for index, record in enumerate(test.records()):
        data = test.read(index)
        assert data == (raw.folder / record["source"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == record["sha256"]
        assert dataset.classes[test.labels[index]] == record["source"].split("/")[1]


def test_every_shard_mixes_the_classes(raw, preprocess) -> None:
    raw.fill("train", count=40)
    out, _ = preprocess(shard_images=20)
    for shard in (out / "dataset").glob("train-*.jsonl"):
        classes = {json.loads(line)["class_name"] for line in shard.read_text().splitlines()}
        assert classes == {"sea", "street"}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"<html>404</html>", "unreadable"),
        ("bomb.png", _png_of_many_pixels(), "unreadable"),
        ("truncated.jpg", encoded(picture(1, (99, 99)))[:-400], "damaged"),
        ("truncated.png", encoded(picture(1, (99, 99)), "PNG")[:-400], "unreadable"),
        ("tiny.png", encoded(picture(1, (23, 40)), "PNG"), "tiny"),
        ("strip.png", encoded(picture(1, (320, 32)), "PNG"), "extreme shape"),
        (
            "moving.gif",
            encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)]),
            "animated",
        ),
    ],
)
def test_quarantines_what_cannot_be_used(raw, preprocess, name, data, reason) -> None:
    raw.fill("train")
    raw.add(f"train/sea/{name}", data)
    out, report = preprocess()
    assert [(q["source"], q["reason"]) for q in report["quarantined"]] == [
        (f"train/sea/{name}", reason)
    ]
    assert f"train/sea/{name}" not in _sources(out)


@pytest.mark.parametrize(
    ("name", "data", "conversion"),
    [
        ("cmyk.jpg", encoded(picture(1).convert("CMYK")), "CMYK"),
        ("palette.png", encoded(picture(1).convert("P"), "PNG"), "palette"),
        ("alpha.png", encoded(picture(1).convert("RGBA"), "PNG"), "alpha"),
        ("grey.jpg", encoded(picture(1).convert("L")), "grey"),
        (
            "deep.png",
            encoded(Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)), "PNG"),
            "16-bit",
        ),
        ("odd.jpg", encoded(picture(1, (40, 30))), "odd size"),
    ],
)
def test_keeps_what_decoding_converts(raw, preprocess, name, data, conversion) -> None:
    raw.fill("train")
    raw.fill("test", count=2)
    raw.add(f"train/sea/{name}", data)
    out, report = preprocess(near_duplicate_bits=0)
    (converted,) = report["converted"]
    assert converted["source"] == f"train/sea/{name}"
    assert conversion in converted["conversions"]
    assert f"train/sea/{name}" in _sources(out, "train", "val")


def test_stops_when_too_much_is_unusable(raw, preprocess) -> None:
    raw.fill("train")
    for number in range(6):
        raw.add(f"train/sea/bad{number}.jpg", b"")
    preprocess(max_bad_fraction=6 / 26)
    with pytest.raises(DatasetError, match="6 of 26 images are unusable"):
        preprocess(max_bad_fraction=0.2)


def test_keeps_one_of_equal_images(raw, preprocess) -> None:
    raw.fill("train")
    raw.add("train/sea/copy.jpg", (raw.folder / "train/sea/0.jpg").read_bytes())
    out, report = preprocess()
    assert report["duplicates"] == [{"kept": "train/sea/0.jpg", "dropped": "train/sea/copy.jpg"}]
    assert "train/sea/copy.jpg" not in _sources(out)


@pytest.mark.parametrize("how", ["same bytes", "saved again"])
def test_drops_a_picture_under_two_labels_under_both(raw, preprocess, how) -> None:
    raw.fill("train")
    raw.add("train/sea/first.jpg", encoded(picture(9998)))
    quality = 75 if how == "same bytes" else 95
    raw.add("train/street/second.jpg", encoded(picture(9998), quality=quality))
    out, report = preprocess()
    (conflict,) = report["label_conflicts"]
    assert {(c["source"], c["class"]) for c in conflict} == {
        ("train/sea/first.jpg", "sea"),
        ("train/street/second.jpg", "street"),
    }
    assert not {"train/sea/first.jpg", "train/street/second.jpg"} & _sources(out).keys()


@pytest.mark.parametrize("quality", [75, 95])
def test_a_training_image_that_is_in_the_test_set_leaves_training(raw, preprocess, quality) -> None:
    raw.fill("train")
    raw.fill("test", count=3)
    raw.add("train/sea/leak.jpg", encoded(picture(500), quality=quality))
    out, report = preprocess()
    assert report["leaks"] == [
        {"train": "train/sea/leak.jpg", "test": "test/sea/0.jpg", "exact": quality == 75}
    ]
    found = _sources(out)
    assert "train/sea/leak.jpg" not in found
    assert found["test/sea/0.jpg"] == "test"


@pytest.mark.parametrize("has_test", [True, False])
def test_a_second_run_on_the_frozen_test_set_gives_the_same_bytes(
    raw, preprocess, has_test
) -> None:
    raw.fill("train")
    raw.add("train/sea/near.jpg", encoded(picture(0), quality=95))
    if has_test:
        raw.fill("test", count=4)
        raw.add("test/sea/two.jpg", encoded(picture(31)))
        raw.add("test/street/two.jpg", encoded(picture(31)))
        raw.add("train/sea/leak.jpg", encoded(picture(31)))
    first, _ = preprocess("first")
    second, _ = preprocess("second", frozen_test=str(first / "frozen"))
    assert _files(first / "dataset") == _files(second / "dataset")
    assert _files(first / "frozen") == _files(second / "frozen")
    before = _files(first / "frozen")
    preprocess("first", frozen_test=str(first / "frozen"))  # in place
    assert _files(first / "frozen") == before


def test_new_test_images_do_not_enter_a_frozen_test_set(raw, preprocess) -> None:
    raw.fill("train")
    raw.fill("test", count=3)
    first, _ = preprocess("first")
    raw.add("test/sea/new.jpg", encoded(picture(12345)))
    (raw.folder / "test/street/0.jpg").unlink()
    raw.add("train/street/was-test.jpg", encoded(picture(1500)))
    second, report = preprocess("second", frozen_test=str(first / "frozen"))
    assert report["left_out_test_images"] == ["test/sea/new.jpg"]
    assert [leak["train"] for leak in report["leaks"]] == ["train/street/was-test.jpg"]
    assert _sources(second, "test") == _sources(first, "test")
    infos = [Dataset.open(out / "dataset").info for out in (first, second)]
    assert infos[0].test_fingerprint == infos[1].test_fingerprint


def test_an_empty_place_for_the_frozen_test_set_is_a_first_run(
    raw, preprocess, tmp_path: Path
) -> None:
    raw.fill("train")
    (tmp_path / "frozen").mkdir()
    out, _ = preprocess(frozen_test=str(tmp_path / "frozen"))
    assert Dataset.open(out / "frozen").info.shards.keys() == {"test"}


def test_refuses_a_frozen_test_set_of_another_problem(raw, preprocess) -> None:
    raw.fill("train")
    first, _ = preprocess("first")
    raw.fill("train", classes="sea street forest")
    with pytest.raises(DatasetError, match="another --name"):
        preprocess("second", frozen_test=str(first / "frozen"))


def test_refuses_a_damaged_frozen_test_set(raw, preprocess) -> None:
    raw.fill("train")
    first, _ = preprocess("first")
    tar = next((first / "frozen").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[600] ^= 0xFF
    tar.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged"):
        preprocess("second", frozen_test=str(first / "frozen"))


def test_the_result_does_not_depend_on_the_number_of_machines(
    raw, preprocess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.fill("train", count=15)
    raw.add("train/sea/large.png", encoded(picture(4242, (300, 200)), "PNG"))
    alone, _ = preprocess("alone")
    hosts, union = ["algo-1", "algo-2", "algo-3"], {}
    config = tmp_path / "ml" / "config" / "resourceconfig.json"
    config.parent.mkdir(parents=True)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    for host in hosts:
        config.write_text(json.dumps({"hosts": hosts, "current_host": host}))
        out, report = preprocess(host)
        assert bool(report) == (host == "algo-1")
        files = _files(out / "dataset")
        assert not files.keys() & union.keys()
        union |= files
    assert union == _files(alone / "dataset")
    assert _files(tmp_path / "algo-1" / "frozen") == _files(alone / "frozen")


def test_scales_large_training_images_down_once(raw, preprocess) -> None:
    raw.fill("train")
    raw.fill("test", count=2)
    raw.add("train/sea/large.png", encoded(picture(4242, (300, 200)), "PNG"))
    large = raw.add("test/sea/large.png", encoded(picture(4343, (300, 200)), "PNG"))
    out, _ = preprocess()
    dataset = Dataset.open(out / "dataset")
    split = dataset.split("train")
    index = [record["source"] for record in split.records()].index("train/sea/large.png")
    assert Image.open(io.BytesIO(split.read(index))).size == (48, 32)
    test = dataset.split("test")
    sources = [r["source"] for r in test.records()]
    assert test.read(sources.index("test/sea/large.png")) == large


def test_a_run_replaces_what_an_earlier_one_left(raw, preprocess) -> None:
    raw.fill("train", count=20)
    preprocess(shard_images=3)
    out, _ = preprocess(shard_images=100)
    assert sorted(_files(out / "dataset")) == [
        *("dataset.json", "test-00000.jsonl", "test-00000.tar", "train-00000.jsonl"),
        *("train-00000.tar", "val-00000.jsonl", "val-00000.tar"),
    ]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("sea", "", "training images have 1 class: sea"),
        ("sea street", "sea street fog", "class fog has test images but no usable training"),
        ("sea street fog", "sea street", "class fog has training images but no usable test"),
    ],
)
def test_refuses_classes_that_cannot_be_learnt_or_measured(
    raw, preprocess, train, test, message
) -> None:
    raw.fill("train", train)
    raw.fill("test", test, count=2)
    with pytest.raises(DatasetError, match=message):
        preprocess()


def test_refuses_a_class_with_one_image(raw, preprocess) -> None:
    raw.fill("train")
    raw.fill("test", "sea street fog", count=2)
    raw.add("train/fog/1.jpg", encoded(picture(8888)))
    with pytest.raises(DatasetError, match="class 'fog' has 1 usable training images"):
        preprocess()


def test_refuses_an_empty_or_unfinished_raw_folder(raw, preprocess) -> None:
    with pytest.raises(DatasetError, match="no training images"):
        preprocess()
    (raw.folder / "raw.json").unlink()
    with pytest.raises(DatasetError, match=r"no raw\.json"):
        preprocess()
