"""hadolint's findings become problems of `python -m ci check`; a program stands in for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ci.hadolint import check_dockerfiles, find_hadolint
from ci.problems import REPOSITORY


def _program(folder: Path, body: str) -> str:
    path = folder / "hadolint"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_findings_name_file_line_and_rule(farm: Path, tmp_path: Path) -> None:
    finding = {
        "file": f"{farm}/components/sheep/Dockerfile",
        "line": 3,
        "message": "Pin versions",
        "code": "DL3008",
    }
    program = _program(tmp_path, f"cat <<'END'\n{json.dumps([finding])}\nEND\nexit 1")
    assert [str(problem) for problem in check_dockerfiles(farm, program)] == [
        "components/sheep/Dockerfile: line 3: Pin versions (DL3008)"
    ]


def test_a_linter_that_breaks_is_a_problem_too(farm: Path, tmp_path: Path) -> None:
    program = _program(tmp_path, "echo 'hadolint: no memory' >&2; exit 2")
    [problem] = check_dockerfiles(farm, program)
    assert "hadolint gave no answer: hadolint: no memory" in str(problem)


def test_the_real_one_finds_what_is_wrong_and_nothing_here(farm: Path) -> None:
    program = find_hadolint()
    if program is None:
        pytest.skip("hadolint is not installed")
    (farm / "components/sheep/Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo ls\n")
    found = " ".join(str(problem) for problem in check_dockerfiles(farm, program))
    assert "DL3006" in found
    assert "DL3004" in found
    assert list(check_dockerfiles(REPOSITORY, program)) == []
