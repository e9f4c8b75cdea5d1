"""The labelling page's figures: queue, labels, and what merge said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.web.errors import Away
from components.web.operator.labelling import LabellingSource, read_merged
from components.web.tests.operator import documents
from shared.component.annotation_manifest import Current


def source_of(tmp_path: Path, **more) -> LabellingSource:
    places = {
        "sink": str(tmp_path / "sink"),
        "labels": str(tmp_path / "labels"),
        "report": str(tmp_path / "report"),
        "label_studio": "http://studio.example.com",
    }
    return LabellingSource(**places | more, s3=None)


def fill(tmp_path: Path) -> None:
    review = tmp_path / "sink" / "review"
    names = {"tasks": "abc", "audit": "ab", "feedback/2026-11-28": "a", "feedback/2026-11-29": "bc"}
    for folder, keys in names.items():
        (review / folder).mkdir(parents=True)
        for key in keys:
            (review / folder / f"{key * 64}.json").write_text("{}")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "current.json").write_bytes(Current("f" * 64, 117).encode())
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(json.dumps(documents.MERGED))


def test_all_that_there_is_is_counted(tmp_path):
    fill(tmp_path)
    found = source_of(tmp_path).get()
    assert (found.queue.tasks, found.queue.audit) == (3, 2)
    assert [(d.day, d.images) for d in found.queue.feedback] == [
        ("2026-11-28", 1),
        ("2026-11-29", 2),
    ]
    assert found.labelled == 117
    assert found.merged.to_adjudicate == 3
    assert found.merged.audit[0].accuracy.low == 0.566
    assert found.merged.annotators[0].accepted.hits == 32
    assert found.problems == {}


def test_before_anybody_labels_there_is_nothing(tmp_path):
    found = source_of(tmp_path).get()
    assert (found.queue.tasks, found.labelled, found.merged) == (0, None, None)
    assert found.problems == {}
    unnamed = source_of(tmp_path, sink="", labels="", report="").get()
    assert (unnamed.queue, unnamed.labelled, unnamed.merged) == (None, None, None)


def test_a_part_that_is_away_hides_no_other(tmp_path):
    fill(tmp_path)
    (tmp_path / "labels" / "current.json").write_text("damaged")
    found = source_of(tmp_path, sink="ftp://nowhere").get()
    assert found.merged.labels == 117
    assert set(found.problems) == {"queue", "labelled"}
    assert "damaged" in found.problems["labelled"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"labels": 1, "to_adjudicate": 3}'])
def test_a_report_that_is_none_says_how_to_write_it_anew(data):
    with pytest.raises(Away, match=r"components\.labeling merge"):
        read_merged(data)
