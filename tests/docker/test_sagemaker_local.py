"""SageMaker's own local mode runs our images unmodified: the contract is not only ours.

The SDK makes the folders that a container writes to for the caller alone, and our images
run as user 1000: `open_to_all` lets any caller stand in for that one. What the SDK leaves
behind, stopped containers and a network, is removed.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from shared.component.layout import OPT_ML, Layout
from shared.component.spec import load_spec
from shared.pipeline.settings import REPOSITORY
from shared.vision.bundle import open_bundle
from shared.vision.dataset import Dataset
from tests.docker.small_pipeline import SAMPLE

pytestmark = pytest.mark.filterwarnings("ignore")  # of SageMaker's SDK
LAYOUT = Layout(Path(OPT_ML))
NETWORK = "sagemaker-local"
HYPERPARAMETERS = {
    "model_name": "mobilenetv3_small_050",
    "pretrained": "none",
    "image_size": "32",
    "epochs": "1",
    "batch_size": "16",
}


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def scratch(
    engine: docker.DockerClient, open_to_all: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Where the SDK keeps its trees; afterwards nothing that came from there is left."""
    folder = tmp_path_factory.mktemp("scratch")
    yield folder
    for container in engine.containers.list(all=True, filters={"network": NETWORK}):
        source = container.labels.get("com.docker.compose.project.config_files", "")
        if Path(source).is_relative_to(folder):
            container.remove(force=True, v=True)
    for network in engine.networks.list(names=[NETWORK], greedy=True):
        if not network.containers:
            network.remove()


@pytest.fixture(scope="module")
def configuration(engine: docker.DockerClient) -> dict[str, Any]:
    """The SDK's, without telemetry; what it wants in the environment is there when it returns."""
    from shared.pipeline.tests.sdk_witness import TELEMETRY_OFF

    return TELEMETRY_OFF


@pytest.fixture(scope="module")
def session(scratch: Path, configuration: dict[str, Any]) -> Any:
    """SageMaker's LocalSession, which asks nothing of AWS."""
    import boto3
    from sagemaker.core.local import LocalSession

    boto = boto3.Session("testing", "testing", region_name="us-east-1")
    made = LocalSession(boto, "bucket", disable_local_code=True, sagemaker_config=configuration)
    made.config = {"local": {"container_root": str(scratch)}}
    return made


def outputs_of(component: str, folder: Path) -> dict[str, Any]:
    """Return the outputs of a processing request, each to a folder of this machine."""
    spec = load_spec(REPOSITORY / "components" / component)
    return {
        name: {
            "S3Uri": f"file://{folder / component / name}",
            "LocalPath": str(LAYOUT.output_dir(spec, port)),
            "S3UploadMode": "EndOfJob",
        }
        for name, port in spec.outputs.items()
    }


def fetch(session: Any, image: str, folder: Path, train: str) -> Path:
    """Run fetch_data by the SDK's Processor."""
    from sagemaker.core import shapes
    from sagemaker.core.processing import Processor

    processor = Processor(
        image_uri=image,
        entrypoint=list(load_spec(REPOSITORY / "components" / "fetch_data").container.command),
        instance_count=1,
        instance_type="local",
        sagemaker_session=session,
    )
    outputs = [
        shapes.ProcessingOutput(
            output_name=name,
            s3_output=shapes.ProcessingS3Output(
                s3_uri=output["S3Uri"],
                local_path=output["LocalPath"],
                s3_upload_mode=output["S3UploadMode"],
            ),
        )
        for name, output in outputs_of("fetch_data", folder).items()
    ]
    processor.run(outputs=outputs, arguments=[f"--train={train}"], wait=False, logs=False)
    return folder / "fetch_data"


@pytest.fixture(scope="module")
def raw(
    session: Any, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return fetch(session, image("fetch_data"), tmp_path_factory.mktemp("raw"), SAMPLE)


@pytest.fixture(scope="module")
def dataset(
    session: Any,
    image: Callable[[str], str],
    raw: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Made by preprocess from a CreateProcessingJob request, as a pipeline sends one."""
    spec = load_spec(REPOSITORY / "components" / "preprocess")
    folder = tmp_path_factory.mktemp("prepared")
    inputs = {"raw": raw / "raw", "annotations": raw / "labels"}
    session.sagemaker_client.create_processing_job(
        ProcessingJobName="preprocess",
        AppSpecification={
            "ImageUri": image("preprocess"),
            "ContainerEntrypoint": list(spec.container.command),
            "ContainerArguments": ["--image-size=32"],
        },
        ProcessingResources={"ClusterConfig": {"InstanceType": "local", "InstanceCount": 1}},
        ProcessingInputs=[
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": f"file://{path}",
                    "LocalPath": str(LAYOUT.input_dir(spec, spec.input(name))),
                },
            }
            for name, path in inputs.items()
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {"OutputName": name, "S3Output": output}
                for name, output in outputs_of("preprocess", folder).items()
            ]
        },
    )
    return folder / "preprocess" / "dataset"


def test_processing_jobs_make_a_dataset(dataset: Path) -> None:
    found = Dataset.open(dataset)
    assert len(found.split("test")) == 18
    assert len(found.split("train")) > len(found.split("val")) > 0


def test_a_processing_job_that_fails_is_seen_to_fail(
    session: Any,
    image: Callable[[str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(RuntimeError, match="exited with code: 1"):
        fetch(session, image("fetch_data"), tmp_path, "/nowhere")
    assert "error: storage: nothing at /nowhere" in capsys.readouterr().out


@pytest.mark.slow  # its image is the largest
def test_a_training_job_leaves_a_bundle(
    session: Any, image: Callable[[str], str], dataset: Path, scratch: Path
) -> None:
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, InputData
    from sagemaker.train.model_trainer import Mode

    root = scratch / "training"
    (root / "model").mkdir(parents=True)  # else the engine makes it, as root
    trainer = ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=image("train"),
        role="arn:aws:iam::000000000000:role/none",
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters=HYPERPARAMETERS,
        local_container_root=str(root),
        sagemaker_session=session,
        environment={"OMP_NUM_THREADS": "1"},
    )
    trainer.train(input_data_config=[InputData(channel_name="dataset", data_source=str(dataset))])
    archive = root / "compressed_artifacts" / "model.tar.gz"
    with tarfile.open(archive) as tar:
        assert "bundle.json" in tar.getnames()
    with open_bundle(archive) as bundle:
        assert bundle.info.model_name == HYPERPARAMETERS["model_name"]
        assert list(bundle.info.classes) == Dataset.open(dataset).info.classes
