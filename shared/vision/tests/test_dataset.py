"""Shards: readable by strangers, read back exactly, refused when damaged."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import webdataset

from shared.vision.dataset import Dataset, fingerprint, write_shard
from shared.vision.errors import DatasetError
from shared.vision.tests.factories import colour_image, make_dataset, sample


def test_reads_back_every_byte_and_label(tmp_path):
    split = make_dataset(tmp_path).split("train")
    for index, record in enumerate(split.records()):
        assert hashlib.sha256(split.read(index)).hexdigest() == record["sha256"]
        assert split.classes[split.labels[index]] == record["class_name"]
    assert len(split) == 36


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # it leaves files open
def test_the_webdataset_library_reads_the_shards(tmp_path):
    data = make_dataset(tmp_path)
    urls = [str(tmp_path / name) for name in data.info.shards["test"]]
    found = {
        hashlib.sha256(item["png"]).hexdigest(): item["cls"].decode()
        for item in webdataset.WebDataset(urls, shardshuffle=False)
    }
    assert found == {r["sha256"]: r["class_name"] for r in data.split("test").records()}


def test_shard_bytes_depend_on_the_samples_alone(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_shard(tmp_path / folder, "x", [sample("red", 1), sample("blue", 2)])
    for name in ("x.tar", "x.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_split_travels_to_worker_processes(tmp_path):
    split = make_dataset(tmp_path).split("val")
    split.read(0)  # an open file here must not be shared with the worker
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(split.read, 3).result(timeout=60) == split.read(3)


def test_a_truncated_shard_is_noticed(tmp_path):
    split = make_dataset(tmp_path).split("test")
    shard = tmp_path / "test-00000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="truncated"):
        split.read(5)


def test_names_the_missing_file_and_the_remedy(tmp_path):
    data = make_dataset(tmp_path)
    (tmp_path / "val-00000.tar").unlink()
    with pytest.raises(DatasetError, match=r"val-00000\.tar is missing; run preprocess again"):
        data.split("val")
    with pytest.raises(DatasetError, match=r"no dataset\.json"):
        Dataset.open(tmp_path / "elsewhere")


def test_refuses_another_schema(tmp_path):
    make_dataset(tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(DatasetError, match="schema version 99"):
        Dataset.open(tmp_path)


def test_the_fingerprint_knows_labels_and_splits_but_not_order():
    digest = hashlib.sha256(colour_image("red", 1)).hexdigest()
    items = [("train", "red", digest), ("test", "blue", digest)]
    assert fingerprint(items) == fingerprint(items[::-1])
    assert fingerprint(items) != fingerprint([("train", "blue", digest), ("test", "red", digest)])
