"""Building, with child processes that talk like BuildKit in place of an engine."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ci.build import Builder, build_images, prune
from ci.build_log import BuildLog
from ci.engine import Ended, connect
from ci.errors import BuildError, EngineError
from ci.images import Options, Recipe, chosen, recipe_of
from ci.tests.engine_fake import BAD, BASE, BASE_ID, GOOD, FakeEngine, Heard


def _recipe(root: Path, engine: FakeEngine, name: str = "sheep") -> Recipe:
    [spec] = chosen([name], root)
    return recipe_of(spec, root, engine, Options())  # type: ignore[arg-type]


def _builder(root: Path, engine: FakeEngine) -> tuple[Builder, Heard]:
    heard = Heard()
    return Builder(engine, root, root / "builds", heard), heard  # type: ignore[arg-type]


def _failure(root: Path, engine: FakeEngine) -> str:
    builder, _ = _builder(root, engine)
    with pytest.raises(BuildError) as failed:
        builder.build(_recipe(root, engine))
    return str(failed.value)


def test_an_image_is_built_once_under_both_its_names(farm: Path) -> None:
    engine = FakeEngine()
    builder, heard = _builder(farm, engine)
    recipe = _recipe(farm, engine)
    builder.build(recipe)
    builder.build(recipe)
    assert len(engine.builds) == 1
    assert {recipe.name, recipe.code_name} <= engine.images.keys()
    assert (farm / "builds/sheep.log").read_text() == GOOD
    assert [text for _, text in heard.steps if text.startswith("[")] == [
        "[1/3] FROM docker.io/library/python:3.11-slim-bookworm",
        "[2/3] COPY containers/install containers/install",
        "[3/3] RUN sh containers/install components/sheep/requirements.txt",
    ]
    assert engine.runs == [(recipe.name, ["--help"], None)]
    assert heard.ends[1] == ("sheep", f"{recipe.name} is there")


def test_the_name_by_code_goes_to_the_newest_base(farm: Path) -> None:
    engine = FakeEngine()
    builder, _ = _builder(farm, engine)
    old = _recipe(farm, engine)
    builder.build(old)
    new = replace(old, base_id="sha256:" + "1" * 64)
    builder.build(new)
    assert engine.images[old.code_name] is engine.images[new.name]
    builder.build(old)
    assert engine.images[old.code_name] is engine.images[old.name]


def test_pruning_removes_older_images_of_the_same_component_alone(farm: Path) -> None:
    engine = FakeEngine(images={BASE: {"Id": BASE_ID}, "visionloop/goat:1": {}})
    builder, _ = _builder(farm, engine)
    builder.build(_recipe(farm, engine))
    (farm / "components/sheep/component.py").write_text("SHEEP = 2\n")
    newest = _recipe(farm, engine)
    builder.build(newest)
    prune([newest], engine)  # type: ignore[arg-type]
    assert engine.images.keys() == {BASE, "visionloop/goat:1", newest.name, newest.code_name}


def test_a_failing_step_is_told_with_component_step_log_and_last_words(farm: Path) -> None:
    message = _failure(farm, FakeEngine(log=BAD, status=1))
    first, *last = message.splitlines()
    assert "build: sheep: step [3/3] RUN sh containers/install components/sheep" in first
    assert "did not complete successfully: exit code: 1" in first
    assert first.endswith(f"log: {farm}/builds/sheep.log")
    assert last == [
        "  Collecting wool==1.0",
        "  ERROR: No matching distribution found for wool==1.0",
    ]
    assert (farm / "builds/sheep.log").read_text() == BAD


def test_a_full_disk_is_told_as_such_with_the_remedy(farm: Path) -> None:
    log = BAD.replace("No matching distribution found", "write /x: no space left on device")
    message = _failure(farm, FakeEngine(log=log, status=1))
    assert "sheep: no space left for step [3/3]" in message
    assert "docker builder prune" in message


def test_a_build_that_fails_before_any_step_gives_the_reason(farm: Path) -> None:
    log = "ERROR: failed to solve: the Dockerfile cannot be parsed\n"
    message = _failure(farm, FakeEngine(log=log, status=1))
    assert "sheep: the build failed: failed to solve: the Dockerfile cannot be parsed" in message


def test_an_image_without_its_entrypoint_is_no_image(farm: Path) -> None:
    engine = FakeEngine(entrypoint=())
    message = _failure(farm, engine)
    assert "sheep: the image's entrypoint is missing, component.yaml's command is" in message
    assert [name for name in engine.images if name.startswith("visionloop/")] == []


def test_an_image_that_does_not_start_is_no_image(farm: Path) -> None:
    engine = FakeEngine(help=Ended(1, "", "Traceback\nModuleNotFoundError: no module 'yaml'\n"))
    message = _failure(farm, engine)
    assert "--help` exits 1" in message
    assert message.endswith("ModuleNotFoundError: no module 'yaml'")
    assert "ModuleNotFoundError" in (farm / "builds/sheep.log").read_text()
    assert [name for name in engine.images if name.startswith("visionloop/")] == []


def test_one_failure_leaves_the_other_builds_alone_and_all_are_told(farm: Path) -> None:
    engine = FakeEngine()  # whose images have the sheep's entrypoint
    builder, _ = _builder(farm, engine)
    recipes = [_recipe(farm, engine, name) for name in ("goat", "sheep")]
    with pytest.raises(BuildError, match="goat: the image's entrypoint") as failed:
        build_images(recipes, builder, 2)
    assert "sheep" not in str(failed.value).replace("components.sheep", "")
    assert recipes[1].name in engine.images


def test_builds_run_side_by_side_and_can_be_stopped(farm: Path) -> None:
    engine = FakeEngine(build_s=60.0)
    builder, heard = _builder(farm, engine)
    recipes = [_recipe(farm, engine, name) for name in ("goat", "sheep")]
    both_run = threading.Event()

    def step(component: str, text: str) -> None:
        heard.steps.append((component, text))
        if {name for name, text in heard.steps if text.startswith("[3/3]")} == {"goat", "sheep"}:
            both_run.set()

    heard.step = step  # type: ignore[method-assign]
    stopper = threading.Thread(target=lambda: both_run.wait(20) and builder.stop())
    stopper.start()
    with pytest.raises(BuildError):
        build_images(recipes, builder, 2)
    stopper.join()
    assert both_run.is_set()


def test_what_was_said_in_the_last_step_is_kept_short() -> None:
    log = BuildLog()
    log.read("#7 [3/3] RUN false")
    for number in range(100):
        log.read(f"#7 0.{number} line {number}")
    log.read('#7 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1')
    assert log.failed == "[3/3] RUN false"
    assert log.tail == [f"line {number}" for number in range(88, 100)]


def test_no_docker_command_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the command is not on PATH; install"):
        connect({"PATH": str(tmp_path)})


def test_no_engine_is_said_with_the_address(tmp_path: Path) -> None:
    _cli(tmp_path, 'test "$1" = context && echo "unix:///nowhere/docker.sock"')
    with pytest.raises(EngineError, match=r"no engine answers at unix:///nowhere/docker\.sock"):
        connect({"PATH": str(tmp_path)})


def _cli(folder: Path, body: str) -> None:
    """Put a docker command of our own on a PATH."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
