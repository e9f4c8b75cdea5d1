"""`python -m ci build` on a real engine: what is built, what is not, and what failures say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from ci.build import Builder
from ci.engine import Engine, connect
from ci.errors import BuildError, EngineError
from ci.images import Options, Recipe, chosen, recipe_of
from ci.problems import REPOSITORY
from ci.tests.conftest import FILES, write
from ci.tests.engine_fake import Heard

MAIN = """\
import pathlib, sys
print("sheep", sys.argv[1:], sorted(p.name for p in pathlib.Path("components/sheep").iterdir()))
"""
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
WORKDIR /opt/program
COPY containers/install containers/install
RUN --mount=type=cache,target=/root/.cache/pip sh containers/install
COPY components/sheep components/sheep
ENTRYPOINT ["python", "-m", "components.sheep"]
"""


@pytest.fixture
def farm(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Path]:
    """A repository whose image is made in a second; what was built of it is removed."""
    root = tmp_path / "farm"
    write(root, FILES | {"components/sheep/Dockerfile": DOCKERFILE})
    write(root, {"components/sheep/__main__.py": MAIN, "containers/install": "echo installed\n"})
    yield root
    for made in engine.images.list("visionloop/sheep"):
        engine.images.remove(made.id, force=True)


def _build(root: Path, **options: Any) -> tuple[Recipe, Heard]:
    connected, heard = connect(), Heard()
    [spec] = chosen(["sheep"], root)
    recipe = recipe_of(spec, root, connected, Options(**options))
    Builder(connected, root, root / "builds", heard).build(recipe)
    return recipe, heard


def test_the_image_holds_the_context_and_says_where_it_comes_from(
    farm: Path, engine: docker.DockerClient
) -> None:
    recipe, _ = _build(farm)
    said = engine.containers.run(recipe.name, ["--flag"], remove=True).decode()
    assert "['--flag']" in said
    assert "component.py" in said
    for left_out in ("README.md", "tests", ".cache"):
        assert left_out not in said
    image = engine.images.get(recipe.code_name)
    assert image.id == engine.images.get(recipe.name).id
    assert image.labels["visionloop.code"] == recipe.code
    assert image.labels["org.opencontainers.image.version"] == "1.2.3"


def test_a_changed_line_reuses_the_layer_of_packages_and_a_readme_all(
    farm: Path, engine: docker.DockerClient
) -> None:
    first, _ = _build(farm)
    (farm / "components/sheep/README.md").write_text("other words\n")
    same, heard = _build(farm)
    assert same.name == first.name
    assert heard.ends == [("sheep", f"{first.name} is there")]
    (farm / "components/sheep/component.py").write_text("SHEEP = 2\n")
    changed, _ = _build(farm)
    layers = [engine.images.get(r.name).attrs["RootFS"]["Layers"] for r in (first, changed)]
    assert layers[0][:-1] == layers[1][:-1]
    assert layers[0][-1] != layers[1][-1]


def test_a_build_argument_makes_another_image(farm: Path) -> None:
    dockerfile = farm / "components/sheep/Dockerfile"
    dockerfile.write_text(DOCKERFILE.replace("COPY cont", "ARG COLOUR\nCOPY cont"))
    black, _ = _build(farm, arguments={"COLOUR": "black"})
    white, _ = _build(farm, arguments={"COLOUR": "white"})
    assert black.name != white.name


def test_a_failing_step_is_named_with_its_last_words(farm: Path) -> None:
    (farm / "containers/install").write_text("echo no wool today >&2; exit 7\n")
    with pytest.raises(BuildError) as failed:
        _build(farm)
    first, *last = str(failed.value).splitlines()
    assert "build: sheep: step [" in first
    assert "RUN --mount=type=cache,target=/root/.cache/pip sh containers/install" in first
    assert "exit code: 7" in first
    assert "  no wool today" in last
    assert "no wool today" in (farm / "builds/sheep.log").read_text()


def test_a_full_disk_is_told_as_such(farm: Path) -> None:
    (farm / "containers/install").write_text("dd if=/dev/zero of=/dev/full count=1\n")
    with pytest.raises(BuildError, match=r"sheep: no space left for step .*docker builder prune"):
        _build(farm)


def test_an_image_without_its_entrypoint_is_refused(
    farm: Path, engine: docker.DockerClient
) -> None:
    (farm / "components/sheep/Dockerfile").write_text(DOCKERFILE.partition("ENTRYPOINT")[0])
    with pytest.raises(BuildError, match="sheep: the image's entrypoint is missing"):
        _build(farm)
    assert engine.images.list("visionloop/sheep") == []


def test_an_image_whose_program_does_not_start_is_refused(farm: Path) -> None:
    (farm / "components/sheep/__main__.py").write_text("import wool\n")
    with pytest.raises(BuildError, match=r"(?s)--help` exits 1; log: .*No module named 'wool'"):
        _build(farm)


def test_a_base_image_that_nobody_has_is_told_with_the_remedy(farm: Path) -> None:
    with pytest.raises(BuildError, match=r"base image 127\.0\.0\.1:9/none:1 is not here .*--base"):
        _build(farm, bases={"": "127.0.0.1:9/none:1"})


def test_without_buildkit_it_is_said_before_anything_is_built(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    found: Engine = connect()
    program = tmp_path / "docker"  # a CLI of the same engine that knows no plugin
    host = subprocess.run(
        ["docker", "context", "inspect", "-f", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    program.write_text(f'#!/bin/sh\ntest "$1" != buildx && echo {host}\n')
    program.chmod(0o755)
    with pytest.raises(EngineError, match=r"buildx plugin \(BuildKit\) is missing.*docker-buildx"):
        connect({**found.environ, "PATH": str(tmp_path)})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_stopped_leaves_nothing_that_runs(
    farm: Path, engine: docker.DockerClient, number: signal.Signals
) -> None:
    mark = f"sleep 61.{time.time_ns()}"  # a step that ran once is answered from the cache
    (farm / "containers/install").write_text(f"echo at it; {mark}\n")
    code = "import signal, sys; from pathlib import Path; from ci.build import main; "
    # A shell that runs these tests in the background lets its children ignore SIGINT.
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "raise SystemExit(main(['sheep'], Path(sys.argv[1])))"
    environ = os.environ | {"VISIONLOOP_HOME": str(farm / "home")}
    command = [sys.executable, "-c", code, str(farm)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE) as process:
        _wait_until(lambda: b"at it" in _text(farm / "home/builds/sheep.log"))
        is_visible = mark.encode() in _commands()  # not where the engine is in another machine
        process.send_signal(number)
        assert process.wait(timeout=20) == 130
        said = process.stderr.read() if process.stderr else b""
    assert said.endswith(b"build: stopped\n")
    _wait_until(lambda: not is_visible or mark.encode() not in _commands())
    assert engine.images.list("visionloop/sheep") == []


def _text(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _commands() -> bytes:
    return b"\n".join(
        _text(entry / "cmdline").replace(b"\0", b" ") for entry in Path("/proc").glob("[0-9]*")
    )


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_command_builds_a_component_of_this_repository_once(
    engine: docker.DockerClient,
) -> None:
    names = [json.loads(_ci("build", "fetch_data").stdout)["fetch_data"] for _ in range(2)]
    assert names[0] == names[1]
    again = _ci("build", "fetch_data")
    assert again.stderr == f"fetch_data: {names[0]} is there\n"
    assert engine.images.get(names[0]).attrs["Config"]["User"] not in ("", "root", "0")


def test_a_plain_docker_build_puts_the_same_files_into_the_image(
    engine: docker.DockerClient, image: Callable[[str], str]
) -> None:
    ours = json.loads(_ci("build", "fetch_data").stdout)["fetch_data"]
    listing = "find /opt/program -type f ! -name '*.pyc' | sort | xargs sha256sum"
    held = [
        engine.containers.run(name, ["-c", listing], entrypoint="sh", remove=True).decode()
        for name in (ours, image("fetch_data"))
    ]
    assert held[0] == held[1]
    assert "components/fetch_data/component.yaml" in held[0]
    assert "README.md" not in held[0]


def _ci(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ci", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
