"""One job: the tree it sees, several instances, time limit, retries."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.component.spec import load_spec
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job, Stopped
from shared.pipeline.backends.processes import ProcessLauncher
from shared.pipeline.backends.steps import with_retries
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import DefinitionError, JobError
from shared.pipeline.tests.conftest import Workshop

SOURCE = """
import json
from pathlib import Path
from shared.component.layout import Layout

def run(*, report: Path, dataset: Path, model: Path, **options) -> None:
    layout = Layout.from_environ()
    instance = layout.instance()
    seen = sorted(str(p.relative_to(dataset)) for p in dataset.rglob("*") if p.is_file())
    (report / f"{instance.index}-of-{instance.count}.json").write_text(json.dumps(seen))
    (report / "same.txt").write_text("the same from all")
    config = json.loads((layout.base / "config" / "processingjobconfig.json").read_text())
    assert config["AppSpecification"]["ImageUri"] == "registry/explain:tag"
"""


@pytest.fixture
def make(workshop: Workshop, tmp_path: Path) -> Callable[..., Job]:
    """Give a maker of `explain` jobs that read four files and write what they saw."""
    folder = workshop.root / "components" / "explain"
    (folder / "component.py").write_text(SOURCE)
    store = workshop.home / "s3" / "bucket"
    for key in ("a", "b", "c", "deep/d"):
        (store / "data" / key).parent.mkdir(parents=True, exist_ok=True)
        (store / "data" / key).write_text(key)
    (store / "model.tar.gz").write_text("model")

    def make(instances: int = 1, distribution: str = "FullyReplicated", limit_s: int = 60) -> Job:
        place = "/opt/ml/processing/output/report"
        output = {"S3Uri": "s3://bucket/report", "LocalPath": place, "S3UploadMode": "EndOfJob"}
        inputs = {"dataset": "s3://bucket/data", "model": "s3://bucket/model.tar.gz"}
        request = {
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": instances}},
            "AppSpecification": {"ImageUri": "registry/explain:tag"},
            "ProcessingInputs": [
                {"InputName": n, "S3Input": {"S3Uri": u, "S3DataDistributionType": distribution}}
                for n, u in inputs.items()
            ],
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": output}]},
            "StoppingCondition": {"MaxRuntimeInSeconds": limit_s},
        }
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        spec = load_spec(folder)
        return Job(
            "run", "Explain", spec, request, scratch, tmp_path / "check", workshop.root, threads=1
        )

    return make


@pytest.fixture
def runner(workshop: Workshop) -> JobRunner:
    return JobRunner(Store(workshop.home / "s3"), ProcessLauncher(workshop.environ))


def report(workshop: Workshop) -> dict[str, Any]:
    folder = workshop.home / "s3" / "bucket" / "report"
    return {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_instances_see_everything_when_replicated(
    workshop: Workshop, runner: JobRunner, make: Callable[..., Job]
) -> None:
    runner.run(make(instances=2))
    everything = ["a", "b", "c", "deep/d"]
    assert report(workshop) == {"0-of-2.json": everything, "1-of-2.json": everything}


def test_instances_share_what_is_sharded(
    workshop: Workshop, runner: JobRunner, make: Callable[..., Job]
) -> None:
    job = make(instances=2, distribution="ShardedByS3Key")
    job.request["ProcessingInputs"][1]["S3Input"]["S3DataDistributionType"] = "FullyReplicated"
    runner.run(job)
    assert report(workshop) == {"0-of-2.json": ["a", "c"], "1-of-2.json": ["b", "deep/d"]}


def test_two_instances_may_not_write_one_file_differently(
    workshop: Workshop, runner: JobRunner, make: Callable[..., Job]
) -> None:
    source = workshop.root / "components" / "explain" / "component.py"
    source.write_text(SOURCE.replace('"the same from all"', "str(instance.index)"))
    with pytest.raises(JobError, match=r"two instances wrote same\.txt"):
        runner.run(make(instances=2))
    assert not (workshop.home / "s3" / "bucket" / "report").exists()


def test_a_job_ends_at_its_time_limit(
    workshop: Workshop, runner: JobRunner, make: Callable[..., Job]
) -> None:
    source = workshop.root / "components" / "explain" / "component.py"
    source.write_text("import time\ndef run(**options):\n    time.sleep(600)\n")
    started = time.monotonic()
    with pytest.raises(JobError, match="stopped after MaxRuntimeInSeconds = 1"):
        runner.run(make(limit_s=1))
    assert time.monotonic() - started < 20


def test_a_stop_ends_the_job(
    workshop: Workshop, runner: JobRunner, make: Callable[..., Job]
) -> None:
    runner.stop.set()
    with pytest.raises(Stopped):
        runner.run(make())
    assert not (workshop.home / "s3" / "bucket" / "report").exists()


def test_a_missing_input_is_named(runner: JobRunner, make: Callable[..., Job]) -> None:
    job = make()
    job.request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = "s3://bucket/nowhere"
    with pytest.raises(DefinitionError, match="nothing at s3://bucket/nowhere"):
        runner.run(job)


def policy(attempts: int, kind: str = "SageMaker.JOB_INTERNAL_ERROR") -> dict[str, Any]:
    return {
        "BackoffRate": 2.0,
        "IntervalSeconds": 0,
        "MaxAttempts": attempts,
        "ExceptionType": [kind],
    }


def failing(times: int, kind: str) -> Callable[[], int]:
    """Return an attempt that fails so many times, then tells how often it was called."""
    calls: list[int] = []

    def attempt() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise JobError(f"failure {len(calls)}", kind)
        return len(calls)

    return attempt


def test_a_fault_of_the_platform_is_tried_again() -> None:
    attempt = failing(2, "SageMaker.JOB_INTERNAL_ERROR")
    assert with_retries([policy(2)], attempt, threading.Event()) == 3


def test_attempts_are_limited() -> None:
    attempt = failing(5, "SageMaker.JOB_INTERNAL_ERROR")
    with pytest.raises(JobError, match="failure 3"):
        with_retries([policy(2)], attempt, threading.Event())


@pytest.mark.parametrize("kind", ["", "SageMaker.CAPACITY_ERROR"])
def test_what_no_policy_names_is_not_tried_again(kind: str) -> None:
    with pytest.raises(JobError, match="failure 1"):
        with_retries([policy(2)], failing(1, kind), threading.Event())


def test_a_stop_ends_the_wait_between_attempts() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        with_retries([policy(2)], failing(1, "SageMaker.JOB_INTERNAL_ERROR"), stop)
