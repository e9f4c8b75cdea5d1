"""Jobs in containers, on a fake engine: every way they end, and that nothing is left."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared.pipeline.backends.container import Host
from shared.pipeline.backends.docker import ContainerLauncher, engine
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job, Stopped
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import JobError, SettingsError
from shared.pipeline.tests.conftest import Workshop
from shared.pipeline.tests.container_jobs import (
    URI,
    ends_with,
    make_store,
    processing_job,
    run,
    runs_on,
    training_job,
    writes_a_report,
)
from shared.pipeline.tests.fake_engine import FakeContainer, FakeEngine, refusal

# docker-py forgets the socket that found no engine; collected here, no other test sees it.
LEAKS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Job]:
    return partial(processing_job, tmp_path)


def test_a_missing_image_names_component_and_command(
    make: Callable[..., Job], store: Store
) -> None:
    with pytest.raises(JobError, match=r"explain: no image .*`python -m ci build explain`"):
        run(FakeEngine(writes_a_report), make(), store)


def test_an_image_without_entrypoint_names_component_step_and_log(
    tmp_path: Path, store: Store
) -> None:
    client = FakeEngine(writes_a_report, URI)
    client.known[URI].attrs["Config"]["Entrypoint"] = None
    job = training_job(tmp_path)
    with pytest.raises(JobError) as caught:
        run(client, job, store)
    message = str(caught.value)
    assert message.startswith("train: step Step: docker cannot start")
    assert "lacks its entrypoint" in message
    assert "python -m ci build train" in message
    assert str(job.log) in message
    assert client.left == []


@pytest.mark.parametrize(
    ("explanation", "remedy"),
    [
        ('exec: "python": executable file not found in $PATH', "python -m ci build explain"),
        ("write /var/lib/docker: no space left on device", "docker system prune"),
        ("Minimum memory limit allowed is 6MB", "raise VISIONLOOP_JOB_MEMORY"),
        ("something nobody thought of", "docker info"),
    ],
)
def test_a_refused_start_says_why_and_leaves_nothing(
    make: Callable[..., Job], store: Store, explanation: str, remedy: str
) -> None:
    client = FakeEngine(writes_a_report, URI)
    client.refusals = [refusal(500, explanation)]
    with pytest.raises(JobError) as caught:
        run(client, make(), store)
    assert explanation in str(caught.value)
    assert remedy in str(caught.value)
    assert client.left == []


def test_an_instance_that_cannot_start_ends_those_that_did(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(runs_on, URI)
    client.refusals = [None, refusal(500, "enough")]
    with pytest.raises(JobError, match="enough"):
        run(client, make(instances=2), store)
    assert client.made[0].signals == ["SIGTERM"]
    assert client.left == []


def test_the_reason_a_component_left_is_the_reason(make: Callable[..., Job], store: Store) -> None:
    client = FakeEngine(ends_with(1, "explain: bad data; bring better"), URI)
    with pytest.raises(JobError, match=r"^explain: bad data; bring better$") as caught:
        run(client, make(), store)
    assert caught.value.retry_type == ""
    assert client.left == []
    assert not store.path("s3://bucket/report").exists()


def test_the_instance_that_failed_gives_the_reason_not_one_ended_for_it(
    make: Callable[..., Job], store: Store
) -> None:
    def program(container: FakeContainer) -> int | None:
        if container.options["hostname"] == "algo-1":
            return None
        return ends_with(1, "explain: the second has bad data")(container)

    client = FakeEngine(program, URI)
    with pytest.raises(JobError, match=r"^explain: the second has bad data$"):
        run(client, make(instances=2), store)
    assert client.made[0].signals == ["SIGTERM"]


def test_a_training_leaves_its_reason_in_the_file_failure(tmp_path: Path, store: Store) -> None:
    client = FakeEngine(ends_with(1, "train: diverged", "failure"), URI)
    with pytest.raises(JobError, match=r"^train: diverged$"):
        run(client, training_job(tmp_path), store)


def test_out_of_memory_is_told_with_the_limit_and_the_remedy(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(ends_with(137), URI)
    client.is_out_of_memory = True
    with pytest.raises(JobError) as caught:
        run(client, make(), store, memory_bytes=64 << 20)
    message = str(caught.value)
    assert message.startswith("explain: out of memory (137): the container may use 64 MiB")
    assert "VISIONLOOP_JOB_MEMORY" in message
    assert "instance_type" in message
    assert caught.value.retry_type == ""  # once more would end the same


def test_out_of_memory_wins_over_what_a_component_makes_of_its_killed_child(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(ends_with(1, "explain: a worker was killed"), URI)
    client.is_out_of_memory = True
    with pytest.raises(JobError, match=r"out of memory \(1\)"):
        run(client, make(), store)


def test_killed_by_somebody_is_the_platforms_fault(make: Callable[..., Job], store: Store) -> None:
    with pytest.raises(JobError, match="explain: killed by SIGKILL") as caught:
        run(FakeEngine(ends_with(137), URI), make(), store)
    assert caught.value.retry_type == "SageMaker.JOB_INTERNAL_ERROR"


def test_an_exit_status_that_is_no_signal_is_told(make: Callable[..., Job], store: Store) -> None:
    with pytest.raises(JobError, match="explain: exit status 255"):
        run(FakeEngine(ends_with(255), URI), make(), store)


@pytest.mark.parametrize("status", [126, 127])
def test_an_entrypoint_that_cannot_be_run_names_component_step_and_log(
    make: Callable[..., Job], store: Store, status: int
) -> None:
    job = make()
    with pytest.raises(JobError) as caught:
        run(FakeEngine(ends_with(status), URI), job, store)
    message = str(caught.value)
    assert message.startswith(f"explain: step Step: image {URI} lacks its entrypoint")
    assert "`python -m ci build explain`" in message
    assert str(job.log) in message


def test_an_engine_that_goes_away_is_the_platforms_fault(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(ends_with(0), URI)
    client.is_lost = True
    with pytest.raises(JobError, match="lost its container: the engine is gone") as caught:
        run(client, make(), store)
    assert caught.value.retry_type == "SageMaker.JOB_INTERNAL_ERROR"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full stands in for a disk")
def test_a_full_disk_ends_the_container_whose_log_it_cannot_take(
    make: Callable[..., Job], store: Store
) -> None:
    client, job = FakeEngine(runs_on, URI), make()
    job.log.symlink_to("/dev/full")
    with pytest.raises(JobError, match="cannot keep its log: No space left on device") as caught:
        run(client, job, store)
    assert caught.value.retry_type == ""
    assert client.left == []


@pytest.mark.parametrize(
    ("is_stubborn", "signals"), [(False, ["SIGTERM"]), (True, ["SIGTERM", "SIGKILL"])]
)
def test_a_stop_ends_and_removes_every_container(
    make: Callable[..., Job], store: Store, is_stubborn: bool, signals: list[str]
) -> None:
    client = FakeEngine(runs_on, URI)
    client.is_stubborn = is_stubborn
    stop = threading.Event()
    runner = JobRunner(store, ContainerLauncher(client, Host({}, "1:1"), grace_s=0.2), stop)
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    with pytest.raises(Stopped):
        runner.run(make(instances=2))
    timer.join()
    assert [made.signals for made in client.made] == [signals, signals]
    assert client.left == []


def test_a_time_limit_ends_and_removes_the_container(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(runs_on, URI)
    started = time.monotonic()
    with pytest.raises(JobError, match="stopped after MaxRuntimeInSeconds = 0"):
        run(client, make(StoppingCondition={"MaxRuntimeInSeconds": 0}), store)
    assert time.monotonic() - started < 5
    assert client.left == []


@LEAKS
def test_no_engine_is_told_before_anything_runs(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    workshop.environ["DOCKER_HOST"] = nowhere
    status, _ = workshop.run("--upsert", "--start", "--backend", "docker")
    assert status == 1
    error = capsys.readouterr().err
    assert f"docker: no engine answers at {nowhere}; start Docker or use --backend local" in error
    assert "Traceback" not in error
    assert not (workshop.home / "executions").exists()
    gc.collect()


def test_looking_needs_no_engine(workshop: Workshop, tmp_path: Path) -> None:
    workshop.environ["DOCKER_HOST"] = f"unix://{tmp_path}/nowhere.sock"
    status, out = workshop.run("--list", "--backend", "docker")
    assert status == 0
    assert "no execution of visionloop yet" in out


@pytest.mark.parametrize("memory", ["much", "8x", "-1g"])
def test_a_limit_that_is_no_amount_is_refused(memory: str) -> None:
    with (
        pytest.raises(SettingsError, match=f"VISIONLOOP_JOB_MEMORY is '{memory}'"),
        engine(os.environ, memory),
    ):
        raise AssertionError("it was taken")
