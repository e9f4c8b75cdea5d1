"""The labelling image: it serves with passwords alone, and merges as it does outside."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import ContainerError

from components.labeling.tests.merge_world import CLASSES, World, sha256
from shared.component.annotation_manifest import read_current, read_manifest

pytestmark = pytest.mark.docker
PASSWORDS = {
    "VISIONLOOP_BACKEND_USER": "studio",
    "VISIONLOOP_BACKEND_PASSWORD": "of-the-backend",
    "VISIONLOOP_WEBHOOK_SECRET": "of-the-webhook",
}
PLACES = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "VISIONLOOP_QUEUE": "s3://capture/endpoint",
    "VISIONLOOP_ANNOTATIONS": "s3://data/annotations",
    "VISIONLOOP_LABELS": "s3://data/labels",
    "VISIONLOOP_REPORT": "/s3/report",
}
START_S = 60


@pytest.fixture
def server(engine: DockerClient, image: Callable[[str], str]) -> Iterator[Any]:
    container = engine.containers.run(
        image("labeling"),
        detach=True,
        environment={**PLACES, **PASSWORDS},
        ports={"9090/tcp": ("127.0.0.1", None)},
    )
    yield container
    container.remove(force=True)


def status_of(container: Any, path: str, body: bytes | None = None) -> int:
    container.reload()
    port = container.ports["9090/tcp"][0]["HostPort"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, 5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as err:
        with err:
            return err.code


def test_it_answers_health_to_all_and_the_rest_to_who_knows_the_password(server: Any) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            assert status_of(server, "/health") == 200
            break
        except (urllib.error.URLError, OSError, KeyError, IndexError):
            assert time.monotonic() < end, server.logs().decode()
            time.sleep(0.1)
    assert status_of(server, "/predict", b"{}") == 401


def test_without_passwords_it_does_not_listen(
    engine: DockerClient, image: Callable[[str], str]
) -> None:
    with pytest.raises(ContainerError) as failed:
        engine.containers.run(image("labeling"), remove=True, environment=PLACES)
    assert failed.value.exit_status == 2
    (line,) = failed.value.stderr.decode().strip().splitlines()
    assert line.startswith("error: labeling: will not listen on 0.0.0.0 without passwords; set")


def test_it_merges_with_its_report(
    engine: DockerClient, image: Callable[[str], str], tmp_path: Path
) -> None:
    """S3 is a folder here; what the image needs beyond Python (fonts, plots) it has."""
    world = World(tmp_path / "world")
    world.annotate(world.queue("one"), CLASSES[0])
    for name, place in (("queue", "capture/endpoint"), ("annotations", "data/annotations")):
        (tmp_path / place).parent.mkdir()
        (tmp_path / "world" / name).rename(tmp_path / place)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    engine.containers.run(
        image("labeling"),
        ["merge"],
        remove=True,
        network_mode="none",
        environment={**PLACES, "VISIONLOOP_S3_ROOT": "/s3"},
        volumes={str(tmp_path): {"bind": "/s3", "mode": "rw"}},
    )
    labels = tmp_path / "data" / "labels"
    current = read_current((labels / "current.json").read_bytes(), "current")
    (label,) = read_manifest((labels / current.manifest).read_bytes(), "manifest").labels
    assert (label.sha256, label.label) == (sha256("one"), CLASSES[0])
    assert json.loads((tmp_path / "report" / "report.json").read_text())["labels"] == 1
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000
