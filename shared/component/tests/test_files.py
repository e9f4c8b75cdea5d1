"""Files are whole or absent."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.component.files import atomic, sha256_of, write_json


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/figures.txt"
    with atomic(path) as aside:
        aside.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "figures.txt"
    path.write_text("old")

    def fail_halfway() -> None:
        with atomic(path) as aside:
            aside.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    documents = [{"writer": n, "body": "x" * 50_000} for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda document: write_json(path, document), documents))
    assert json.loads(path.read_text()) in documents
    assert list(tmp_path.iterdir()) == [path]


def test_json_depends_on_the_content_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": [2]})
    write_json(tmp_path / "b", {"a": [2], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text().endswith("}\n")


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()
