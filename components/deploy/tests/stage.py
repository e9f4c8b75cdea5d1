"""A stage to deploy in: AWS by moto and by the fakes, packages whose models answer by table."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from moto import mock_aws
from moto.sns.models import sns_backends

from components.deploy.clients import Clients
from components.deploy.handler import dispatch
from components.deploy.settings import Settings
from components.deploy.tests.fake_aws import SERVICES, FakeAws, serving
from components.deploy.tests.fake_lambda import FakeLambda
from components.deploy.tests.fake_sagemaker import Brain, FakeSageMaker, Json
from shared.component.operator import OPERATOR_PARAMETERS

BASE = "visionloop-dev"
DIGEST = "sha256:" + 64 * "a"
IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{BASE}/serverless@{DIGEST}"
BUCKET = f"{BASE}-artifacts-123456789012-us-east-1"
ALARMS = (f"{BASE}-endpoint-5xx", f"{BASE}-endpoint-latency", f"{BASE}-predict-errors")
CLASSES = ("b", "a", "c")  # not in the alphabet's order
GOLDEN = {
    b"first image": {"b": 0.7, "a": 0.2, "c": 0.1},
    b"second image": {"b": 0.05, "a": 0.9, "c": 0.05},
}


def sound(image: bytes) -> Json:
    """Answer as the golden images say."""
    probabilities = GOLDEN[image]
    label = max(probabilities, key=lambda name: probabilities[name])
    return {"label": label, "confidence": probabilities[label], "probabilities": probabilities}


def broken(image: bytes) -> Json:
    """Answer as a model does whose weights are damaged."""
    return sound(image) | {"probabilities": dict.fromkeys(CLASSES, 1 / 3)}


def pack_model(images: dict[bytes, dict[str, float]] | None = None) -> bytes:
    """Return a model.tar.gz with golden images, and a model behind them."""
    entries, files = [], {"bundle.json": b"{}"}
    for number, (data, probabilities) in enumerate((GOLDEN if images is None else images).items()):
        files[f"golden/{number}.png"] = data
        label = max(probabilities, key=lambda name: probabilities[name])
        entries.append(
            {
                "file": f"{number}.png",
                "label": label,
                "probabilities": [probabilities[name] for name in CLASSES],
            }
        )
    index = {"classes": list(CLASSES), "images": entries}
    files["golden/golden.json"] = json.dumps(index).encode()
    files["model.ts"] = b"\0" * 10_000
    return pack_files(files)


def pack_files(files: dict[str, bytes]) -> bytes:
    """Return a tar.gz of files, in their order."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def make_settings(target: str = "endpoint", **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "project": "visionloop",
        "stage": "dev",
        "target": target,
        "artifacts_bucket": BUCKET,
        "sink": f"s3://{BASE}-capture-123456789012-us-east-1",
        "state_machine": f"arn:aws:states:us-east-1:123456789012:stateMachine:{BASE}-deploy",
        "notices": f"arn:aws:sns:us-east-1:123456789012:{BASE}-notices",
        "endpoint_role": f"arn:aws:iam::123456789012:role/{BASE}-endpoint",
        "predict_role": f"arn:aws:iam::123456789012:role/{BASE}-predict",
        "predict_image": IMAGE,
        "predict_architecture": "x86_64",
        "instance_type": "ml.m5.large",
        "max_units": 4,
        "target_invocations": 600,
        "memory_mb": 2048,
        "max_concurrency": 5,
        "canary_s": 300,
    }
    return Settings(**(given | changes))


@dataclass
class Stage:
    """What a test holds in its hands.

    now: epoch seconds of the clock.
    calls: service, operation and parameters of every call of boto3's clients.
    """

    settings: Settings
    aws: FakeAws
    clients: Clients
    now: float = 1_800_000_000.0
    calls: list[tuple[str, str, Json]] = field(default_factory=list)

    @property
    def notices(self) -> list[tuple[str, str]]:
        """Subject and text of what was published, in order."""
        topic = sns_backends["123456789012"]["us-east-1"].topics[self.settings.notices]
        return [(subject, text) for _, text, subject, *_ in topic.sent_notifications]

    def register(self, version: int, brain: Brain = sound, status: str = "Approved") -> str:
        """Add a package whose model answers as `brain` does, and return its ARN."""
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{BASE}/{version}"
        key = f"models/{version}/model.tar.gz"
        uri = f"s3://{BUCKET}/{key}"
        self.clients["s3"].put_object(Bucket=BUCKET, Key=key, Body=pack_model())
        self.aws.sagemaker.brains[uri] = brain
        self.aws.sagemaker.packages[arn] = package(arn, version, status, uri)
        return arn

    def set_status(self, version: int, status: str) -> None:
        for body in self.aws.sagemaker.packages.values():
            if body["ModelPackageVersion"] == version:
                body["ModelApprovalStatus"] = status
                body["LastModifiedTime"] += 1

    def ask(self, event: Json) -> Json:
        """Give the function one event."""
        return dispatch(event, self.settings, self.clients, lambda: self.now)

    def alarm(self, name: str, state: str) -> None:
        self.clients["cloudwatch"].set_alarm_state(
            AlarmName=name, StateValue=state, StateReason="test"
        )


def package(arn: str, version: int, status: str, uri: str, group: str = BASE) -> Json:
    """Return what DescribeModelPackage says."""
    return {
        "ModelPackageArn": arn,
        "ModelPackageGroupName": group,
        "ModelPackageVersion": version,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        "CreationTime": 1_790_000_000.0 + version,
        "LastModifiedTime": 1_795_000_000.0 + version,
        "InferenceSpecification": {
            "Containers": [{"Image": "inference@" + DIGEST, "ModelDataUrl": uri}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    }


@contextmanager
def staged(target: str = "endpoint", **changes: Any) -> Iterator[Stage]:
    """Give an empty stage with its bucket, alarms and topic."""
    brains: dict[str, Brain] = {}
    fakes = FakeAws(FakeSageMaker(brains), FakeLambda(brains))
    with serving(fakes) as aws, mock_aws(config={"core": {"passthrough": {"urls": [aws.url]}}}):
        calls: list[tuple[str, str, Json]] = []
        clients = Clients(_maker(aws.url, calls))
        stage = Stage(make_settings(target, **changes), aws, clients, calls=calls)
        stage.clients["s3"].create_bucket(Bucket=BUCKET)
        for name in ALARMS:
            put_alarm(stage.clients["cloudwatch"], name)
        stage.clients["sns"].create_topic(Name=f"{BASE}-notices")
        yield stage


def put_alarm(client: Any, name: str) -> None:
    client.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Sum",
        Threshold=0,
    )


def set_parameter(stage: Stage, name: str, value: str) -> None:
    assert name in OPERATOR_PARAMETERS
    stage.clients["ssm"].put_parameter(
        Name=f"/visionloop/dev/operator/{name}", Value=value, Type="String", Overwrite=True
    )


def at(epoch: float) -> str:
    """Return a time as Step Functions writes it."""
    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")


def _maker(url: str, calls: list[tuple[str, str, Json]]) -> Callable[[str], Any]:
    session = _session()

    def note(params: Json, model: Any, **_: Any) -> None:
        calls.append((model.service_model.service_name, model.name, dict(params)))

    def make(service: str) -> Any:
        where = {"endpoint_url": url} if service in SERVICES else {}
        client = session.client(service, **where)
        client.meta.events.register("provide-client-params", note)
        return client

    return make


@cache  # it keeps the services' descriptions, which take a second to read
def _session() -> boto3.Session:
    return boto3.Session("testing", "testing", region_name="us-east-1")
