"""Annotations in the two forms Label Studio 1.23 gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.fetch_data.annotations import collect
from components.fetch_data.errors import LayoutError
from shared.component.errors import StorageError

LIMIT = 10**9


def _result(*choices: str) -> list[dict]:
    body = {"type": "choices", "from_name": "label", "value": {"choices": list(choices)}}
    return [body] if choices else []


def _s3_object(number: int, image: str, *choices: str, **changes: object) -> dict:
    return {
        "id": number,
        "result": _result(*choices),
        "completed_by": {"id": 7, "email": "a@example.com"},
        "task": {"id": 100 + number, "data": {"image": image}},
        "was_cancelled": False,
        "ground_truth": False,
        "updated_at": "2026-01-01T10:00:00Z",
    } | changes


def _collect(source: Path, tmp_path: Path) -> dict:
    labels = tmp_path / "labels"
    labels.mkdir()
    collect(str(source), tmp_path / "scratch", labels, LIMIT)
    return json.loads((labels / "annotations.json").read_text())


def _write_objects(folder: Path, *objects: object) -> Path:
    folder.mkdir()
    for number, body in enumerate(objects):
        (folder / str(number)).write_text(body if isinstance(body, str) else json.dumps(body))
    return folder


def test_no_annotations_are_an_empty_document(tmp_path: Path) -> None:
    assert collect("", tmp_path, tmp_path, LIMIT) == 0
    document = json.loads((tmp_path / "annotations.json").read_text())
    assert document == {"source": "", "objects": 0}


def test_reads_s3_objects_and_fetches_their_images(write_tree, tmp_path, jpeg) -> None:
    image = str(write_tree("sea/1.jpg") / "sea/1.jpg")
    folder = _write_objects(tmp_path / "objects", _s3_object(1, image, "sea"))
    (annotation,) = _collect(folder, tmp_path)["annotations"]
    assert (annotation["choices"], annotation["annotator"]) == (["sea"], "7")
    assert (tmp_path / "labels" / annotation["image_file"]).read_bytes() == jpeg


def test_keeps_the_last_state_of_an_annotation(tmp_path: Path) -> None:
    folder = _write_objects(
        tmp_path / "objects",
        _s3_object(1, "x.jpg", "sea", updated_at="2026-01-02T00:00:00Z"),
        _s3_object(1, "x.jpg", "street", updated_at="2026-01-01T00:00:00Z"),
    )
    (annotation,) = _collect(folder, tmp_path)["annotations"]
    assert annotation["choices"] == ["sea"]


def test_reads_a_json_export(write_tree, tmp_path: Path) -> None:
    write_tree("1.jpg", folder="export")
    answers = [
        {"id": 1, "result": _result("sea"), "completed_by": 3, "was_cancelled": False},
        {"id": 2, "result": [], "completed_by": 4, "was_cancelled": True},
    ]
    export = tmp_path / "export" / "tasks.json"
    export.write_text(json.dumps([{"id": 9, "data": {"image": "1.jpg"}, "annotations": answers}]))
    document = _collect(export, tmp_path)
    assert document["objects"] == 2
    assert [a["was_cancelled"] for a in document["annotations"]] == [False, True]
    assert {a["annotator"] for a in document["annotations"]} == {"3", "4"}
    assert len(list((tmp_path / "labels" / "images").iterdir())) == 1


def test_an_image_that_is_gone_is_named_not_fatal(tmp_path: Path) -> None:
    folder = _write_objects(tmp_path / "objects", _s3_object(1, "/gone/1.jpg", "sea"))
    document = _collect(folder, tmp_path)
    assert list(document["missing_images"]) == ["/gone/1.jpg"]
    assert document["annotations"][0]["image_file"] == ""


@pytest.mark.parametrize("body", ["not json", '"text"', '{"id": 1}', "[1]", "null"])
def test_an_object_that_is_no_annotation_is_named_not_fatal(tmp_path: Path, body: str) -> None:
    folder = _write_objects(tmp_path / "objects", body, _s3_object(1, "x.jpg", "sea"))
    document = _collect(folder, tmp_path)
    assert document["unreadable"] == ["0"]
    assert document["objects"] == 1


def test_refuses_a_file_that_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[{}]")
    with pytest.raises(LayoutError, match="no Label Studio JSON export"):
        _collect(tmp_path / "x.json", tmp_path)


def test_refuses_a_place_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing at"):
        _collect(tmp_path / "none", tmp_path)
