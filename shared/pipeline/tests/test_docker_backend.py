"""Jobs in containers, on a fake engine: what the engine is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared.pipeline.backends.launcher import Job
from shared.pipeline.backends.store import Store
from shared.pipeline.errors import JobError
from shared.pipeline.images import code_hash
from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.container_jobs import (
    URI,
    ends_with,
    make_store,
    options_of,
    processing_job,
    run,
    training_job,
    writes_a_report,
)
from shared.pipeline.tests.fake_engine import FakeContainer, FakeEngine


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Job]:
    return partial(processing_job, tmp_path)


def test_a_job_runs_in_a_container_that_is_gone_afterwards(
    make: Callable[..., Job], store: Store
) -> None:
    client = FakeEngine(writes_a_report, URI)
    job = make()
    assert run(client, job, store)["ProcessingJobStatus"] == "Completed"
    assert (store.path("s3://bucket/report") / "algo-1.txt").read_text() == "done"
    assert job.log.read_text() == "said inside\n"
    assert client.left == []
    assert not (job.folder / "ml").exists()


def test_a_container_sees_the_tree_of_sagemaker_and_may_not_write_to_inputs(
    make: Callable[..., Job], store: Store
) -> None:
    seen: dict[str, tuple[Path, bool]] = {}

    def looks(container: FakeContainer) -> int:
        for mount in container.options["mounts"]:
            assert mount["Type"] == "bind"
            seen[mount["Target"]] = (Path(mount["Source"]), mount["ReadOnly"])
        tree = container.place("/opt/ml")
        assert (tree / "config" / "processingjobconfig.json").is_file()
        for target in seen:  # an engine would make a missing mount point, as root
            inside = Path(target).is_relative_to("/opt/ml")
            assert not inside or (tree / Path(target).relative_to("/opt/ml")).exists()
        return writes_a_report(container)

    job = make()
    run(FakeEngine(looks, URI), job, store)
    data = store.root / "bucket"
    model = "/opt/ml/processing/input/model/model.tar.gz"
    assert seen == {
        "/opt/ml": (job.folder / "ml" / "algo-1", False),
        "/opt/ml/processing/input/dataset": (data / "data", True),
        model: (data / "model.tar.gz", True),
        "/opt/ml/checkpoints": (job.checkpoints, False),
        str(store.root): (store.root, True),
    }


def test_a_container_belongs_to_the_caller_and_may_do_no_more(
    make: Callable[..., Job], store: Store
) -> None:
    options = options_of(make(), store)
    assert options["user"] == "1234:5678"
    assert options["cap_drop"] == ["ALL"]
    assert options["security_opt"] == ["no-new-privileges"]
    assert options["init"]
    assert options["labels"] == {
        "visionloop.execution": "run",
        "visionloop.step": "Step",
        "visionloop.host": "algo-1",
    }


def test_a_container_gets_the_command_and_environment_of_the_request(
    make: Callable[..., Job], store: Store
) -> None:
    job = make(Environment={"ASKED": "yes"})
    options = options_of(job, store)
    assert options["entrypoint"] == ["python", "-m", "components.explain"]
    assert options["command"] == ["--seed=1"]
    environment = options["environment"]
    assert environment["ASKED"] == "yes"
    assert environment["AWS_REGION"] == "here"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["VISIONLOOP_S3_ROOT"] == str(store.root)
    assert environment["HOME"] == "/tmp"  # noqa: S108 - inside
    assert not {"SECRET", "AWS_PROFILE", "SAGEMAKER_BASE_DIR", "PATH"} & set(environment)


def test_a_training_image_gets_the_word_train_and_its_own_entrypoint(
    tmp_path: Path, store: Store
) -> None:
    client = FakeEngine(ends_with(0), URI)
    answer = run(client, training_job(tmp_path), store)
    assert client.made[0].options["command"] == ["train"]
    assert "entrypoint" not in client.made[0].options
    uri = "s3://bucket/training/run-Step/output/model.tar.gz"
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == uri


def test_each_instance_has_a_tree_of_its_own(make: Callable[..., Job], store: Store) -> None:
    client = FakeEngine(writes_a_report, URI)
    run(client, make(instances=2), store)
    trees = {made.options["hostname"]: made.place("/opt/ml") for made in client.made}
    assert {host: tree.name for host, tree in trees.items()} == {
        "algo-1": "algo-1",
        "algo-2": "algo-2",
    }
    report = store.path("s3://bucket/report")
    assert {path.name for path in report.iterdir()} == {"algo-1.txt", "algo-2.txt"}


def test_only_a_component_that_reads_locations_gets_a_network(
    make: Callable[..., Job], store: Store
) -> None:
    assert options_of(make(), store)["network_mode"] == "none"


def test_a_component_that_reads_locations_gets_a_network(
    make: Callable[..., Job], store: Store
) -> None:
    options = options_of(make("fetch_data", {}), store)
    assert "network_mode" not in options
    assert options["extra_hosts"] == {"host.docker.internal": "host-gateway"}


def test_a_request_for_isolation_is_heeded(make: Callable[..., Job], store: Store) -> None:
    isolated = {"NetworkConfig": {"EnableNetworkIsolation": True}}
    assert options_of(make("fetch_data", {}, **isolated), store)["network_mode"] == "none"


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_local_data_that_a_parameter_names_is_mounted_where_it_is(
    make: Callable[..., Job], store: Store, tmp_path: Path, prefix: str
) -> None:
    data = tmp_path / "my data"
    data.mkdir()
    text = f"{prefix}{str(data).replace(' ', '%20') if prefix else data}"
    options = options_of(make("fetch_data", {}, words=(f"--train={text}",)), store)
    (mount,) = [mount for mount in options["mounts"] if mount["Target"] == str(data)]
    assert mount["Source"] == str(data)
    assert mount["ReadOnly"]


def test_data_that_would_hide_the_image_is_refused(make: Callable[..., Job], store: Store) -> None:
    client = FakeEngine(writes_a_report, URI)
    with pytest.raises(JobError, match="/usr cannot be shown to a container"):
        run(client, make("fetch_data", {}, words=("--train=/usr",)), store)
    assert client.made == []


def test_a_memory_limit_leaves_no_swap(make: Callable[..., Job], store: Store) -> None:
    options = options_of(make(), store, memory_bytes=1 << 30)
    assert options["mem_limit"] == options["memswap_limit"] == 1 << 30


def test_no_memory_limit_is_the_default(make: Callable[..., Job], store: Store) -> None:
    assert "mem_limit" not in options_of(make(), store)


def test_the_image_built_from_this_code_stands_in_for_the_one_in_the_registry(
    make: Callable[..., Job], store: Store
) -> None:
    job = make()
    tag = f"visionloop/explain:{code_hash(job.spec, REPOSITORY)}"
    client = FakeEngine(writes_a_report, tag)
    run(client, job, store)
    assert client.made[0].image == f"id of {tag}"


def test_the_image_of_the_definition_comes_first(make: Callable[..., Job], store: Store) -> None:
    job = make()
    tag = f"visionloop/explain:{code_hash(job.spec, REPOSITORY)}"
    client = FakeEngine(writes_a_report, tag, URI)
    run(client, job, store)
    assert client.made[0].image == f"id of {URI}"
