"""Jobs for a fake engine, programs for its containers, and how to run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.component.spec import load_spec
from shared.pipeline.backends.container import Host
from shared.pipeline.backends.docker import ContainerLauncher
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job
from shared.pipeline.backends.store import Store
from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.fake_engine import FakeContainer, FakeEngine, Program

URI = "registry/visionloop/explain:tag"
OUTPUT = "/opt/ml/processing/output/report"
ENVIRON = {"AWS_REGION": "here", "AWS_PROFILE": "mine", "SECRET": "no business of a job"}


def writes_a_report(container: FakeContainer) -> int:
    report = container.place(OUTPUT)
    report.mkdir(exist_ok=True)
    (report / f"{container.options['hostname']}.txt").write_text("done")
    return 0


def runs_on(container: FakeContainer) -> None:
    return None


def ends_with(status: int, explanation: str = "", file: str = "message") -> Program:
    def program(container: FakeContainer) -> int:
        if explanation:
            container.place(f"/opt/ml/output/{file}").write_text(explanation)
        return status

    return program


def make_store(folder: Path) -> Store:
    store = Store(folder / "s3")
    (store.root / "bucket" / "data").mkdir(parents=True)
    (store.root / "bucket" / "data" / "a").write_text("a")
    (store.root / "bucket" / "data" / "b").write_text("b")
    (store.root / "bucket" / "model.tar.gz").write_text("model")
    return store


def processing_job(
    folder: Path,
    component: str = "explain",
    inputs: dict[str, str] | None = None,
    instances: int = 1,
    words: tuple[str, ...] = ("--seed=1",),
    **more: Any,
) -> Job:
    """Return a job, by default of `explain`, which has two inputs."""
    if inputs is None:
        inputs = {"dataset": "s3://bucket/data", "model": "s3://bucket/model.tar.gz"}
    output = {"S3Uri": "s3://bucket/report", "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
    app = {"ContainerEntrypoint": ["python", "-m", f"components.{component}"]}
    request = {
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": instances}},
        "AppSpecification": {"ImageUri": URI, "ContainerArguments": list(words), **app},
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"S3Uri": uri}} for name, uri in inputs.items()
        ],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": output}]},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }
    return job(component, request, folder)


def job(component: str, request: dict[str, Any], folder: Path) -> Job:
    scratch = folder / "scratch"
    scratch.mkdir()
    spec = load_spec(REPOSITORY / "components" / component)
    return Job("run", "Step", spec, request, scratch, folder / "check", REPOSITORY, threads=2)


def training_job(folder: Path) -> Job:
    source = {"S3DataSource": {"S3Uri": "s3://bucket/data"}}
    request = {
        "AlgorithmSpecification": {"TrainingImage": URI},
        "HyperParameters": {"epochs": "1"},
        "InputDataConfig": [{"ChannelName": "dataset", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/training"},
    }
    return job("train", request, folder)


def run(client: FakeEngine, job: Job, store: Store, memory_bytes: int = 0) -> dict[str, Any]:
    host = Host(ENVIRON, "1234:5678", memory_bytes)
    return JobRunner(store, ContainerLauncher(client, host, grace_s=0.2)).run(job)


def options_of(job: Job, store: Store, memory_bytes: int = 0) -> dict[str, Any]:
    client = FakeEngine(writes_a_report, URI)
    run(client, job, store, memory_bytes)
    return client.made[0].options
