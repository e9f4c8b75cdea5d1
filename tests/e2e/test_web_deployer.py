"""What is approved serves: real endpoints, switched under a client that never stops asking."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from ci.packages import LocalPackage
from ci.tests.live import assert_all_gone, wait_until
from ci.tests.packages import register
from ci.web.deployer import Deployer
from ci.web.programs import OPERATOR_PATH, Program, environ, served_command
from shared.pipeline.local_aws.runtime import Route
from shared.pipeline.local_aws.server import local_aws
from shared.pipeline.registry import FileRegistry
from shared.pipeline.settings import Settings
from shared.vision.bundle import pack
from shared.vision.tests.factories import colour_image
from shared.vision.tests.served import make_served_bundle

pytestmark = pytest.mark.e2e

NAME = "colours"
PATIENCE_S = 60.0
IMAGE = colour_image("red", 1)


@dataclass(frozen=True)
class Place:
    """A deployer at work, and the local AWS that its endpoint is asked through."""

    home: Path
    url: str
    programs: list[Program]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id="tester",
            aws_secret_access_key="none",  # noqa: S106 - opens nothing
            config=boto3.session.Config(retries={"total_max_attempts": 1}),
        )

    def add(self, archive: str = "model.tar.gz") -> str:
        """Add an approved version and return its ARN."""
        return register(self.home, NAME, archive)

    def decide(self, arn: str, status: str) -> None:
        FileRegistry(self.home / "registry.json", "us-east-1").set_status(arn, status)

    def describe(self) -> dict[str, Any]:
        return dict(self.client("sagemaker").describe_endpoint(EndpointName=NAME))

    def served(self) -> str:
        """Return the model version that answers an image."""
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=NAME, Body=IMAGE, ContentType="application/x-image"
        )
        return str(answer["Body"].read().decode().partition('"model_version": "')[2][:1])

    def await_version(self, arn: str) -> None:
        config = f"{NAME}-v{arn.rpartition('/')[2]}-local"

        def is_so() -> bool:
            found = self.describe()
            return found["EndpointStatus"] == "InService" and found["EndpointConfigName"] == config

        wait_until(is_so, PATIENCE_S)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    bucket = home / "s3" / "bucket"
    pack(make_served_bundle(home / "bundle").folder, bucket / "model.tar.gz")
    (bucket / "damaged.tar.gz").write_bytes((bucket / "model.tar.gz").read_bytes()[:5000])
    settings, route, programs = Settings(home=home), Route(), list[Program]()
    with local_aws(settings, route) as url:

        def launch(found: LocalPackage, port: int) -> Program:
            command = [*served_command(settings, NAME, found, port), "--workers", "1"]
            told = environ(settings, url, "endpoint") | {"OMP_NUM_THREADS": "1"}
            program = Program.start("endpoint", command, told, home / "endpoint.log")
            programs.append(program)
            return program

        stop = threading.Event()
        deployer = Deployer(settings, NAME, route, launch)
        thread = threading.Thread(target=deployer.run, args=(stop,))
        thread.start()
        try:
            yield Place(home, url, programs)
        finally:
            stop.set()
            thread.join()
        assert not any(program.is_running for program in programs)


@pytest.fixture(scope="module")
def first(place: Place) -> str:
    """The first version, which serves."""
    sagemaker = place.client("sagemaker")
    with pytest.raises(ClientError, match="Could not find endpoint"):
        sagemaker.describe_endpoint(EndpointName=NAME)
    place.client("ssm").put_parameter(
        Name=f"{OPERATOR_PATH}/Minimum-Label-Detection-Confidence", Value="55.5", Type="String"
    )
    arn = place.add()
    wait_until((place.home / "serving.json").exists)
    assert place.describe()["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError) as early:
        place.served()
    assert early.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert early.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"
    place.await_version(arn)
    return arn


def _asked_meanwhile(place: Place, act: Callable[[], None]) -> list[str]:
    """Ask again and again while something is done; return the versions that answered."""
    is_over, versions = threading.Event(), list[str]()

    def ask() -> None:
        while not is_over.wait(0.02):  # the cores are for the one that starts, too
            try:
                versions.append(place.served())
            except (BotoCoreError, ClientError) as err:
                versions.append(repr(err))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        act()
        before = len(versions)
        wait_until(lambda: len(versions) > before + 3)
    finally:
        is_over.set()
        thread.join()
    return versions


def test_an_approval_switches_and_a_rejection_rolls_back_without_a_lost_request(
    place: Place, first: str
) -> None:
    second: list[str] = []

    def act() -> None:
        second.append(place.add())
        place.await_version(second[0])
        place.decide(second[0], "Rejected")
        place.await_version(first)

    versions = _asked_meanwhile(place, act)
    changes = [
        version for at, version in enumerate(versions) if at == 0 or versions[at - 1] != version
    ]
    assert changes == ["1", "2", "1"]
    config = place.client("sagemaker").describe_endpoint_config(
        EndpointConfigName=f"{NAME}-v2-local"
    )
    model = place.client("sagemaker").describe_model(
        ModelName=config["ProductionVariants"][0]["ModelName"]
    )
    assert model["PrimaryContainer"] == {
        "ModelPackageName": second[0],
        "ModelDataUrl": "s3://bucket/model.tar.gz",
    }
    wait_until(lambda: sum(program.is_running for program in place.programs) == 1, PATIENCE_S)


@pytest.mark.parametrize("archive", ["damaged.tar.gz", "gone.tar.gz"])
def test_what_does_not_come_up_changes_nothing_and_is_told(
    place: Place, first: str, archive: str
) -> None:
    damaged = place.add(archive)
    version = damaged.rpartition("/")[2]

    def act() -> None:
        wait_until(lambda: "FailureReason" in place.describe(), PATIENCE_S)

    assert set(_asked_meanwhile(place, act)) == {"1"}
    said = place.describe()
    assert said["FailureReason"].startswith(f"version {version} does not come up: ")
    assert archive in said["FailureReason"]
    assert (said["EndpointStatus"], said["EndpointConfigName"]) == (
        "InService",
        f"{NAME}-v1-local",
    )
    started = len(place.programs)
    place.decide(damaged, "Rejected")
    wait_until(lambda: "FailureReason" not in place.describe())
    assert len(place.programs) == started
    place.await_version(first)


def test_withdrawn_with_none_other_approved_it_goes_on_serving_and_that_is_told(
    place: Place, first: str
) -> None:
    place.decide(first, "Rejected")
    wait_until(lambda: "none is approved" in place.describe().get("FailureReason", ""))
    assert place.served() == "1"
    place.decide(first, "Approved")
    wait_until(lambda: "FailureReason" not in place.describe())
    assert place.describe()["EndpointStatus"] == "InService"


def test_an_endpoint_that_is_killed_comes_back(place: Place, first: str) -> None:
    (program,) = [each for each in place.programs if each.is_running]
    family = psutil.Process(program.process.pid).children(recursive=True)
    os.kill(program.process.pid, signal.SIGKILL)
    wait_until(lambda: place.describe()["EndpointStatus"] == "Updating")
    assert "has died" in place.describe()["FailureReason"]
    place.await_version(first)
    assert place.served() == "1"
    assert "FailureReason" not in place.describe()
    assert_all_gone(family)


def test_the_containers_errors_come_as_awss_runtime_gives_them(place: Place, first: str) -> None:
    with pytest.raises(ClientError) as refused:
        place.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=NAME, Body=b"no image", ContentType="application/x-image"
        )
    said: dict[str, Any] = dict(refused.value.response)
    assert said["Error"]["Code"] == "ModelError"
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert said["OriginalStatusCode"] == 422
    assert "UndecodableImage" in said["OriginalMessage"]


def test_the_endpoint_obeys_operators(place: Place, first: str) -> None:
    log = place.home / "endpoint.log"
    wait_until(lambda: "min_confidence=55.5" in log.read_text())


def test_options_reach_the_endpoint(place: Place, first: str) -> None:
    answer = place.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=NAME,
        Body=IMAGE,
        ContentType="application/x-image",
        Accept="application/jsonlines",
        CustomAttributes="record=false",
    )
    assert answer["ContentType"] == "application/jsonlines"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
