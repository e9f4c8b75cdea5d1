"""What the pages know of the pipeline's parameters follows from pipeline.py."""

from __future__ import annotations

import json
from pathlib import Path

import pipeline
from ci.pipeline_parameters import (
    FILE,
    check_pipeline_parameters,
    fix_pipeline_parameters,
    render_parameters,
)
from ci.problems import REPOSITORY


def entries() -> dict[str, dict]:
    document = json.loads(render_parameters())
    return {entry["name"]: entry for entry in document["parameters"]}


def test_the_file_that_is_there_is_not_stale():
    assert list(check_pipeline_parameters(REPOSITORY)) == []


def test_every_parameter_is_there_with_its_meaning_and_limits():
    found = entries()
    assert set(found) > set(pipeline.PARAMETERS)
    assert all(entry["description"] for entry in found.values())
    assert found["Epochs"]["minimum"] == 1
    assert found["MinAccuracy"]["component"] == "evaluate"
    assert found["TrainDataset"]["format"] == "uri"


def test_what_is_stale_or_missing_is_found_and_written_anew(tmp_path: Path):
    assert list(check_pipeline_parameters(tmp_path)) == []  # a house without the pages
    (tmp_path / FILE.parent).mkdir(parents=True)
    (problem,) = check_pipeline_parameters(tmp_path)
    assert "ci check --fix" in str(problem)
    fix_pipeline_parameters(tmp_path)
    assert list(check_pipeline_parameters(tmp_path)) == []
    assert (tmp_path / FILE).read_text() == (REPOSITORY / FILE).read_text()
