"""What goes into an image, and the names that follow."""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from ci.images import (
    Options,
    Recipe,
    add_options,
    chosen,
    context_tar,
    labels,
    read_options,
    recipe_of,
)
from ci.tests.engine_fake import BASE, BASE_ID, FakeEngine
from shared.component.errors import UsageError
from shared.component.spec import load_spec
from shared.pipeline.images import code_hash, context_files, is_in_context


def _recipe(root: Path, engine: FakeEngine | None = None, options: Options | None = None) -> Recipe:
    [spec] = chosen(["sheep"], root)
    return recipe_of(spec, root, engine or FakeEngine(), options or Options())  # type: ignore[arg-type]


def _options(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return read_options(parser.parse_args(words))


def test_the_context_is_what_component_yaml_lists_without_tests_words_and_hidden_files(
    farm: Path,
) -> None:
    (farm / "components/sheep/__pycache__").mkdir()
    (farm / "components/sheep/__pycache__/component.pyc").write_bytes(b"1")
    assert [file.path for file in _recipe(farm).files] == [
        "components/sheep/Dockerfile",
        "components/sheep/component.py",
        "components/sheep/component.yaml",
        "containers/install",
        "shared/component/spec.py",
    ]


def test_disk_and_commit_are_read_by_one_rule(farm: Path) -> None:
    spec = load_spec(farm / "components/sheep")
    on_disk = {file.path for file in context_files(spec, farm)}
    everything = [p.relative_to(farm).as_posix() for p in farm.rglob("*") if p.is_file()]
    assert {path for path in everything if is_in_context(path, spec)} == on_disk
    assert not is_in_context("shared/component_two/spec.py", spec)


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_owners(farm: Path) -> None:
    before = context_tar(_recipe(farm).files)
    for path in farm.rglob("*"):
        os.utime(path, (1, 1))
    (farm / "components/sheep/component.py").chmod(0o600)
    assert context_tar(_recipe(farm).files) == before
    with tarfile.open(fileobj=io.BytesIO(before)) as archive:
        modes = {entry.name: entry.mode for entry in archive}
        assert {(entry.uid, entry.gid) for entry in archive.getmembers()} == {(0, 0)}
    assert modes["containers/install"] == 0o755
    assert modes["components/sheep/component.py"] == 0o644


def test_the_name_changes_with_code_base_and_build_arguments_alone(farm: Path) -> None:
    engine = FakeEngine()
    name = _recipe(farm, engine).name
    (farm / "components/sheep/README.md").write_text("other words")
    (farm / "components/goat/component.py").write_text("GOAT = 2\n")
    assert _recipe(farm, engine).name == name
    others = [_recipe(farm, engine, Options(arguments={"PIP_INDEX_URL": "https://a.example"})).name]
    engine.images[BASE] = {"Id": "sha256:" + "e" * 64}
    others.append(_recipe(farm, engine).name)
    engine.images[BASE] = {"Id": BASE_ID}
    (farm / "components/sheep/component.py").write_text("SHEEP = 2\n")
    others.append(_recipe(farm, engine).name)
    assert len({name, *others}) == 4
    assert name.startswith("visionloop/sheep:")


def test_a_program_that_loses_its_execute_bit_is_another_context(farm: Path) -> None:
    spec = load_spec(farm / "components/sheep")
    before = code_hash(spec, farm)
    (farm / "containers/install").chmod(0o644)
    assert code_hash(spec, farm) != before


def test_a_base_is_known_by_its_registrys_digest_where_it_has_one(farm: Path) -> None:
    engine = FakeEngine()
    engine.images[BASE]["RepoDigests"] = ["python@sha256:" + "f" * 64]
    assert _recipe(farm, engine).base_id == "sha256:" + "f" * 64


def test_a_base_that_is_not_here_is_pulled_and_another_may_be_named(farm: Path) -> None:
    engine = FakeEngine(images={})
    assert _recipe(farm, engine).base == BASE
    options = _options("--base-image", "sheep=own:1", "--base-image", "all:1")
    assert _recipe(farm, engine, options).base == "own:1"
    options = _options("--base-image", "goat=own:1", "--base-image", "all:1")
    assert _recipe(farm, engine, options).base == "all:1"
    assert engine.pulled == [BASE, "own:1", "all:1"]
    _recipe(farm, engine, _options("--pull"))
    assert engine.pulled[-1] == BASE


def test_an_index_with_a_password_is_refused_because_images_keep_arguments() -> None:
    with pytest.raises(UsageError, match="PIP_INDEX_URL holds a password, which would stay"):
        _options("--index", "https://me:secret@example.com/simple")
    assert _options(
        "--index", "https://index.example/simple", "--find-links", "/wheels"
    ) == Options({}, {"PIP_INDEX_URL": "https://index.example/simple", "PIP_FIND_LINKS": "/wheels"})


def test_an_unknown_component_is_answered_with_the_nearest(farm: Path) -> None:
    with pytest.raises(UsageError, match="no component 'shep'; did you mean 'sheep'"):
        chosen(["shep"], farm)
    assert [spec.name for spec in chosen([], farm)] == ["goat", "sheep"]


def test_labels_say_where_an_image_comes_from_and_no_token(farm: Path) -> None:
    _git(farm, "init", "-q")
    _git(farm, "remote", "add", "origin", "https://me:token@example.com/farm.git")
    _git(farm, "add", ".")
    _git(farm, "commit", "-q", "-m", "all")
    recipe = _recipe(farm)
    found = labels(recipe, farm)
    commit = _git(farm, "rev-parse", "HEAD")
    assert found["org.opencontainers.image.revision"] == commit
    assert found["org.opencontainers.image.source"] == "https://example.com/farm.git"
    assert found["org.opencontainers.image.version"] == "1.2.3"
    assert found["visionloop.code"] == recipe.code
    (farm / "components/goat/component.py").write_text("GOAT = 2\n")
    assert labels(recipe, farm)["org.opencontainers.image.revision"] == commit
    (farm / "components/sheep/component.py").write_text("SHEEP = 2\n")
    assert labels(recipe, farm)["org.opencontainers.image.revision"] == f"{commit}-modified"


def _git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    command = ["git", *identity, *words]
    return subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()
