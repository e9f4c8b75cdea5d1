"""From people's annotations to one execution, the merge under its own policy, IAM enforced."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ci.problems import REPOSITORY
from shared.component import review_queue
from shared.component.annotation_manifest import read_current, read_manifest
from shared.component.review_queue import ReviewTask
from tests.e2e.conftest import PREFIX, Deployed
from tests.e2e.emulators import wait_for

pytestmark = pytest.mark.e2e
_IMAGES = 12


@dataclass(frozen=True)
class Person:
    """Somebody with one of the stack's policies attached, and nothing else."""

    deployed: Deployed
    keys: dict[str, str]

    @property
    def s3(self) -> Any:
        return self.deployed.emulators.client("s3", **self.keys)

    def labeling(self, *words: str) -> subprocess.CompletedProcess[str]:
        buckets = {name: self.deployed.stage.bucket(name) for name in ("data", "capture")}
        environ = {
            **os.environ,
            **self.deployed.emulators.environ(),
            "AWS_ACCESS_KEY_ID": self.keys["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.keys["aws_secret_access_key"],
            "VISIONLOOP_QUEUE": f"s3://{buckets['capture']}/{PREFIX}",
            "VISIONLOOP_ANNOTATIONS": f"s3://{buckets['data']}/annotations",
            "VISIONLOOP_LABELS": f"s3://{buckets['data']}/labels",
            "VISIONLOOP_REPORT": f"s3://{buckets['data']}/labels-report",
        }
        return subprocess.run(
            [sys.executable, "-m", "components.labeling", *words],
            cwd=REPOSITORY,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def hire(stage: Deployed) -> Iterator[Any]:
    """Return a function that makes a user with a policy of the labelling stack."""
    iam = stage.client("iam")
    made: list[tuple[str, str, str]] = []

    def make(policy: str) -> Person:
        name, arn = f"test-{policy}", f"arn:aws:iam::123456789012:policy/{PREFIX}-{policy}"
        iam.create_user(UserName=name)
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made.append((name, arn, key["AccessKeyId"]))
        keys = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        return Person(stage, keys)

    yield make
    for name, arn, key in made:
        iam.delete_access_key(UserName=name, AccessKeyId=key)
        iam.detach_user_policy(UserName=name, PolicyArn=arn)
        iam.delete_user(UserName=name)


@pytest.fixture
def labelled(stage: Deployed) -> Iterator[list[str]]:
    """Images in the queue and an annotation of each; one image is of the audit."""
    s3 = stage.client("s3")
    data, capture = stage.stage.bucket("data"), stage.stage.bucket("capture")
    hashes = [hashlib.sha256(bytes([number])).hexdigest() for number in range(_IMAGES)]
    for number, sha256 in enumerate(hashes):
        reason = review_queue.LOW_CONFIDENCE if number else review_queue.SAMPLED
        key = review_queue.image_key(f"{sha256}.jpg")
        task = ReviewTask(key, "1", "sea", 0.5, ("forest", "sea"), (0.5, 0.5), (reason,), "r", 1.0)
        uri = f"s3://{capture}/{PREFIX}/{key}"
        body = {
            "id": number,
            "result": [{"type": "choices", "value": {"choices": ["forest"]}}],
            "completed_by": {"id": 1},
            "task": {"id": number, "data": {"image": uri}},
            "was_cancelled": False,
            "updated_at": "2026-01-01T00:00:00Z",
        }
        s3.put_object(Bucket=capture, Key=f"{PREFIX}/{key}", Body=bytes([number]))
        task_key = f"{PREFIX}/{review_queue.task_key(sha256)}"
        s3.put_object(Bucket=capture, Key=task_key, Body=task.encode())
        s3.put_object(Bucket=data, Key=f"annotations/{number}", Body=json.dumps(body).encode())
    yield hashes
    for bucket in (data, capture):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=entry["Key"])


def test_the_merge_does_all_it_must_under_its_policy(
    stage: Deployed, hire: Any, labelled: list[str]
) -> None:
    service = hire("labeling")
    for _ in range(2):  # the second finds what the first wrote
        done = service.labeling("merge")
        assert done.returncode == 0, done.stderr
    data = stage.stage.bucket("data")
    found = service.s3.get_object(Bucket=data, Key="labels/current.json")["Body"].read()
    current = read_current(found, "current")
    manifest = service.s3.get_object(Bucket=data, Key=f"labels/{current.manifest}")["Body"].read()
    labels = read_manifest(manifest, "manifest").labels
    assert {label.sha256 for label in labels} == set(labelled[1:])  # none of the audit
    service.s3.get_object(Bucket=data, Key="labels-report/report.html")


def test_what_the_merge_wrote_wakes_retrain(
    stage: Deployed, hire: Any, labelled: list[str]
) -> None:
    logs = stage.client("logs")
    group = f"/aws/lambda/{PREFIX}-retrain"

    def looks() -> int:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        return sum("outcome=" in event["message"] for page in pages for event in page["events"])

    before = looks()
    assert hire("labeling").labeling("merge").returncode == 0
    wait_for(lambda: looks() > before, "retrain has looked")


@pytest.mark.parametrize(
    ("policy", "bucket", "key"),
    [
        ("labeling", "data", "raw/set/_SUCCESS"),
        ("labeling", "data", "annotations/1"),
        ("labeling", "capture", f"{PREFIX}/review/audit/{'a' * 64}.json"),
        ("label-studio", "data", "labels/current.json"),
        ("label-studio", "capture", f"{PREFIX}/review/gold.json"),
    ],
)
def test_neither_may_write_what_is_not_its_own(
    stage: Deployed, hire: Any, policy: str, bucket: str, key: str
) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        hire(policy).s3.put_object(Bucket=stage.stage.bucket(bucket), Key=key, Body=b"x")


def test_label_studio_writes_annotations_and_sees_images(
    stage: Deployed, hire: Any, labelled: list[str]
) -> None:
    s3 = hire("label-studio").s3
    s3.put_object(Bucket=stage.stage.bucket("data"), Key="annotations/1", Body=b"{}")
    key = f"{PREFIX}/{review_queue.image_key(f'{labelled[1]}.jpg')}"
    s3.get_object(Bucket=stage.stage.bucket("capture"), Key=key)
    gold = f"{PREFIX}/{review_queue.GOLD}"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=stage.stage.bucket("capture"), Key=gold)
