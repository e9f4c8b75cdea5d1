"""People's labels: who is heard, and where a label may go."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from components.preprocess.tests.factories import encoded, picture
from shared.vision.dataset import Dataset
from shared.vision.errors import DatasetError


class Answers:
    """An Annotations folder under construction."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "images").mkdir(parents=True)
        self.items: list[dict] = []

    def give(self, data: bytes, *choices: str, who: str = "1", **changes: object) -> None:
        number = len(self.items)
        file = f"images/{zlib.crc32(data):08x}.jpg"
        (self.folder / file).write_bytes(data)
        self.items.append(
            {
                "annotation_id": str(number),
                "task_id": "1",
                "image_uri": f"s3://images/{file}",
                "image_file": file,
                "choices": choices,
                "annotator": who,
                "was_cancelled": False,
                "ground_truth": False,
                "updated_at": f"2026-01-01T00:00:{number:02d}Z",
            }
            | changes
        )
        document = {"source": "x", "objects": len(self.items), "annotations": self.items}
        (self.folder / "annotations.json").write_text(json.dumps(document))

    def decide(self, *labels: tuple[bytes, str], **changes: object) -> None:
        """Write what fetch_data writes of an annotation manifest."""
        items = []
        for data, label in labels:
            file = f"images/{zlib.crc32(data):08x}.jpg"
            (self.folder / file).write_bytes(data)
            items.append(
                {
                    "image_uri": f"s3://images/{file}",
                    "image_file": file,
                    "label": label,
                    "annotators": ["4", "6"],
                }
                | changes
            )
        (self.folder / "annotations.json").write_text(json.dumps({"labels": items}))


@pytest.fixture
def answers(raw, tmp_path: Path) -> Answers:
    raw.fill("train")
    raw.fill("test", count=3)
    return Answers(tmp_path / "annotations")


def _annotated(out: Path) -> dict[str, dict]:
    dataset = Dataset.open(out / "dataset")
    return {
        record["sha256"]: record | {"split": split}
        for split in ("train", "val", "test")
        for record in dataset.split(split).records()
        if record["provenance"] == "annotation"
    }


NEW = encoded(picture(70_000))


def test_a_new_image_joins_the_training_split_with_its_annotator(answers, preprocess) -> None:
    answers.give(NEW, "sea", who="7")
    out, report = preprocess(annotations=answers.folder)
    (record,) = _annotated(out).values()
    assert (record["split"], record["class_name"]) == ("train", "sea")
    assert record["annotator_ids"] == ["7"]
    assert record["source"].startswith("s3://images/")
    assert report["annotations"] == {"new image": 1}


def test_annotated_images_never_reach_validation_or_test(answers, raw, preprocess) -> None:
    for path in sorted((raw.folder / "train/sea").iterdir())[:9]:
        answers.give(path.read_bytes(), "sea")
    out, report = preprocess(annotations=answers.folder)
    assert {record["split"] for record in _annotated(out).values()} == {"train"}
    assert report["annotations"] == {"label confirmed": 9}


def test_corrects_the_label_of_a_training_image(answers, raw, preprocess) -> None:
    answers.give((raw.folder / "train/sea/0.jpg").read_bytes(), "street")
    out, report = preprocess(annotations=answers.folder)
    (record,) = _annotated(out).values()
    assert record["class_name"] == "street"
    assert report["label_corrections"] == [
        {"source": "train/sea/0.jpg", "from": "sea", "to": "street"}
    ]


def test_settles_a_label_conflict(answers, raw, preprocess) -> None:
    for name in ("sea", "street"):
        raw.add(f"train/{name}/both.jpg", NEW)
    answers.give(NEW, "street")
    out, report = preprocess(annotations=answers.folder)
    assert report["counts"]["label_conflicts"] == 1
    (record,) = _annotated(out).values()
    assert record["class_name"] == "street"


@pytest.mark.parametrize("quality", [75, 95])
def test_a_label_never_enters_the_test_set(answers, preprocess, quality) -> None:
    answers.give(encoded(picture(500), quality=quality), "street")
    out, report = preprocess(annotations=answers.folder)
    assert _annotated(out) == {}
    assert report["annotations"] == {"of a test image": 1}


def test_the_majority_of_last_votes_decides(answers, preprocess) -> None:
    answers.give(NEW, "street", who="1")
    answers.give(NEW, "street", who="2")
    answers.give(NEW, "sea", who="3")
    answers.give(NEW, "sea", who="1")  # thought again
    out, _ = preprocess(annotations=answers.folder)
    (record,) = _annotated(out).values()
    assert (record["class_name"], record["annotator_ids"]) == ("sea", ["1", "3"])


def test_ground_truth_beats_votes(answers, preprocess) -> None:
    answers.give(NEW, "sea", who="9", ground_truth=True)
    for who in "123":
        answers.give(NEW, "street", who=who)
    out, _ = preprocess(annotations=answers.folder)
    (record,) = _annotated(out).values()
    assert (record["class_name"], record["annotator_ids"]) == ("sea", ["9"])


@pytest.mark.parametrize(
    ("choices", "changes", "reason"),
    [
        ((), {}, "empty answer"),
        (("sea",), {"was_cancelled": True}, "skipped"),
        (("lake",), {}, "unknown label"),
        (("sea", "street"), {}, "several labels"),
        (("sea",), {"image_file": ""}, "image not fetched"),
    ],
)
def test_counts_what_is_no_vote(answers, preprocess, choices, changes, reason) -> None:
    answers.give(NEW, *choices, **changes)
    out, report = preprocess(annotations=answers.folder)
    assert report["annotations"] == {reason: 1}
    assert _annotated(out) == {}


def test_leaves_out_a_tie(answers, preprocess) -> None:
    answers.give(NEW, "sea", who="1")
    answers.give(NEW, "street", who="2")
    out, report = preprocess(annotations=answers.folder)
    assert report["annotations"] == {"disagreement": 1}
    assert _annotated(out) == {}


def test_counts_an_image_that_does_not_decode(answers, preprocess) -> None:
    answers.give(NEW[:100], "sea")
    _, report = preprocess(annotations=answers.folder)
    assert report["annotations"] == {"image unusable": 1}


def test_a_label_of_a_manifest_stands_as_it_is(answers, preprocess) -> None:
    answers.decide((NEW, "sea"))
    out, report = preprocess(annotations=answers.folder)
    (record,) = _annotated(out).values()
    assert (record["split"], record["class_name"]) == ("train", "sea")
    assert record["annotator_ids"] == ["4", "6"]
    assert report["annotations"] == {"new image": 1}


@pytest.mark.parametrize(
    ("data", "label", "changes", "reason"),
    [
        (NEW, "lake", {}, "unknown label"),
        (NEW, "sea", {"image_file": ""}, "image not fetched"),
        (NEW[:100], "sea", {}, "image unusable"),
    ],
)
def test_a_label_of_a_manifest_that_cannot_be_used_is_counted(
    answers, preprocess, data, label, changes, reason
) -> None:
    answers.decide((data, label), **changes)
    out, report = preprocess(annotations=answers.folder)
    assert report["annotations"] == {reason: 1}
    assert _annotated(out) == {}


def test_a_manifests_label_of_a_test_image_goes_nowhere(answers, preprocess, raw) -> None:
    test_image = (raw.folder / "test/sea/0.jpg").read_bytes()
    answers.decide((NEW, "sea"), (test_image, "street"))
    out, report = preprocess(annotations=answers.folder)
    assert report["annotations"] == {"new image": 1, "of a test image": 1}
    assert len(_annotated(out)) == 1


def test_annotations_do_not_move_the_test_set(answers, preprocess) -> None:
    before, _ = preprocess("before")
    answers.give(NEW, "sea")
    after, _ = preprocess("after", annotations=answers.folder)
    infos = [Dataset.open(out / "dataset").info for out in (before, after)]
    assert infos[0].test_fingerprint == infos[1].test_fingerprint


def test_refuses_damaged_annotations(answers, preprocess) -> None:
    (answers.folder / "annotations.json").write_text('{"annotations": [{}]}')
    with pytest.raises(DatasetError, match="run fetch_data again"):
        preprocess(annotations=answers.folder)
