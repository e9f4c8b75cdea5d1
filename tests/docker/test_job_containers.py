"""What a job's container may do, and what is said when it is killed: on a real engine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest

from shared.pipeline.backends.container import Host
from shared.pipeline.backends.docker import ContainerLauncher
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job
from shared.pipeline.errors import JobError
from shared.pipeline.tests.container_jobs import make_store, processing_job

STRANGER = "4321:4321"  # in no /etc/passwd
WAIT_S = 60
LOOKS = """
import json, os, pathlib
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
places = ["/opt/ml/processing/input/dataset", os.environ["VISIONLOOP_S3_ROOT"]]
found = {"user": os.getuid(), "group": os.getgid(), "capabilities": status["CapEff"].strip()}
found["writable"] = [place for place in places if os.access(place, os.W_OK)]
found["seen"] = sorted(os.listdir(places[0]))
found["networks"] = sorted(os.listdir("/sys/class/net"))
pathlib.Path("/opt/ml/checkpoints/mark").touch()
pathlib.Path("/opt/ml/processing/output/report/found.json").write_text(json.dumps(found))
"""


@pytest.fixture
def job(image: Callable[[str], str], tmp_path: Path) -> Callable[..., Job]:
    """Give a maker of jobs that run a script in the smallest image."""

    def make(script: str, **more: Any) -> Job:
        app = {"ImageUri": image("fetch_data"), "ContainerEntrypoint": ["python", "-c", script]}
        return processing_job(tmp_path, AppSpecification=app, **more)

    return make


@pytest.fixture
def run(engine: docker.DockerClient, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Give a function that runs a job and returns what it found out."""

    def run(job: Job, user: str = f"{os.getuid()}:{os.getgid()}", memory: int = 0) -> Any:
        store = make_store(tmp_path)
        launcher = ContainerLauncher(engine, Host({}, user, memory))
        JobRunner(store, launcher).run(job)
        return json.loads((store.path("s3://bucket/report") / "found.json").read_text())

    return run


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """Let a stranger write where this process makes folders."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_container_is_the_caller_without_any_right_beyond_his_files(
    job: Callable[..., Job], run: Callable[..., dict[str, Any]]
) -> None:
    found = run(job(LOOKS))
    assert (found["user"], found["group"]) == (os.getuid(), os.getgid())
    assert int(found["capabilities"], 16) == 0
    assert found["seen"] == ["a", "b"]
    assert found["writable"] == []
    assert found["networks"] == ["lo"]  # explain reads no locations


def test_a_user_unknown_to_the_image_owns_what_he_writes(
    open_to_all: None,
    job: Callable[..., Job],
    run: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    found = run(job(LOOKS), user=STRANGER)
    assert found["user"] == 4321
    assert (tmp_path / "check" / "mark").stat().st_uid == 4321
    report = tmp_path / "s3" / "bucket" / "report" / "found.json"
    assert report.stat().st_uid == 4321


def test_a_container_that_takes_too_much_memory_is_told_so(
    engine: docker.DockerClient, job: Callable[..., Job], run: Callable[..., dict[str, Any]]
) -> None:
    eats = "data = []\nwhile True:\n    data.append(b'x' * (8 << 20))"
    with pytest.raises(JobError) as caught:
        run(job(eats), memory=64 << 20)
    message = str(caught.value)
    assert message.startswith("explain: out of memory (137): the container may use 64 MiB")
    assert "VISIONLOOP_JOB_MEMORY" in message


def test_a_container_killed_by_somebody_is_told_so(
    engine: docker.DockerClient, job: Callable[..., Job], run: Callable[..., dict[str, Any]]
) -> None:
    murderer = threading.Thread(target=partial(kill_the_first, engine))
    murderer.start()
    with pytest.raises(JobError, match="explain: killed by SIGKILL"):
        run(job("import time\nprint('here', flush=True)\ntime.sleep(600)"))
    murderer.join()


def kill_the_first(engine: docker.DockerClient) -> None:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = engine.containers.list(filters={"label": "visionloop.execution=run"})
        if found and b"here" in found[0].logs():
            found[0].kill("SIGKILL")
            return
        time.sleep(0.05)


def test_an_image_without_python_names_component_step_and_log(
    engine: docker.DockerClient, image: Callable[[str], str], tmp_path: Path
) -> None:
    app = {"ImageUri": image("fetch_data"), "ContainerEntrypoint": ["/no/such/program"]}
    job = processing_job(tmp_path, AppSpecification=app)
    launcher = ContainerLauncher(engine, Host({}, "0:0"))
    with pytest.raises(JobError) as caught:
        JobRunner(make_store(tmp_path), launcher).run(job)
    message = str(caught.value)
    assert message.startswith("explain: step Step: image fetch_data lacks its entrypoint")
    assert "python -m ci build explain" in message
    assert str(job.log) in message
    assert "/no/such/program" in job.log.read_text()
    assert engine.containers.list(all=True, filters={"label": "visionloop.execution"}) == []
