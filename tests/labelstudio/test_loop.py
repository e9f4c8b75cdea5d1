"""`python -m ci loop` to its end: a real Label Studio, the real endpoint, two training runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ci.loop.command import main

pytestmark = pytest.mark.labelstudio
_SMALL = ["-p", "ImageSize=32", "-p", "Epochs=1", "--labelled", "60"]
_DATA = "sample://scenes?images=120&test=36&unlabelled=0&size=48"


def test_the_loop_closes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "loop"
    assert main(["--data", _DATA, *_SMALL, "--folder", str(folder)]) == 0
    page = capsys.readouterr().out
    assert re.search(r"\d+ changed labels: 1 run started", page), page
    assert "retrain: nothing_new (all labels were trained on)" in page
    assert re.search(r"frozen test set +\d+ images: ", page)
    said = json.loads((folder / "report.json").read_text())
    _people_saw_what_they_should(said)
    _the_run_learned_from_people(said, folder)


def _people_saw_what_they_should(said: dict) -> None:
    """Every task was labelled, some with a suggestion, the audit without."""
    answered = {answer["image"] for answer in said["answers"]}
    assert len(answered) == said["queue"]["tasks"] > said["queue"]["audit"] > 0
    assert len(said["answers"]) > len(answered)  # a share is labelled by two people
    blind = {answer["image"] for answer in said["answers"] if not answer["suggested"]}
    assert said["queue"]["audit"] <= len(blind) < len(answered)
    (audit,) = said["labels"]["audit"]
    assert audit["accuracy"]["total"] + audit["held"] == said["queue"]["audit"]


def _the_run_learned_from_people(said: dict, folder: Path) -> None:
    """The second run's data set holds each label of the manifest, or says why not."""
    collected = sorted(
        (folder / "home" / "s3").rglob("FetchData/labels/annotations.json"),
        key=lambda path: path.stat().st_mtime,
    )
    first, second = (json.loads(path.read_text()) for path in collected)
    assert first["objects"] == 0
    assert Path(second["source"]).stem == said["labels"]["fingerprint"]
    images = {label["image_file"] for label in second["labels"]}
    assert "" not in images
    assert len(images) == said["labels"]["labels"] > 0
    assert second["missing_images"] == {}
