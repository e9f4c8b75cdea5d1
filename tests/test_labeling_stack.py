"""What labelling may do, read out of the templates; what it needs for ever is kept."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase
from typing import Any

import pytest

from ci.problems import REPOSITORY
from ci.templates import load_templates, substituted, walk
from components.labeling.settings import Place
from shared.component import review_queue

WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::Partition": "aws",
    "AWS::AccountId": "123456789012",
    "AWS::Region": "us-east-1",
    "KeyArn": "key",
}
BASE = "visionloop-dev"
CAPTURE = f"arn:aws:s3:::{BASE}-capture-123456789012-us-east-1"
DATA = f"arn:aws:s3:::{BASE}-data-123456789012-us-east-1"
SHA256 = "a" * 64
TEMPLATES = load_templates(REPOSITORY)


def rights(policy: str) -> dict[str, list[str]]:
    """Return the resources of each action."""
    body = TEMPLATES["labeling"]["Resources"][policy]["Properties"]["PolicyDocument"]
    found: dict[str, list[str]] = defaultdict(list)
    for statement in body["Statement"]:
        for action in _listed(statement["Action"]):
            found[action] += [substituted(r, WORDS) for r in _listed(statement["Resource"])]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def may(policy: str, action: str, arn: str) -> bool:
    return any(fnmatchcase(arn, pattern) for pattern in rights(policy)[action])


def queue(key: str) -> str:
    """Return the ARN of an object of the queue, as the endpoint of the deploy stack fills it."""
    variables = [e["VISIONLOOP_SINK"] for e in walk(TEMPLATES["deploy"]) if "VISIONLOOP_SINK" in e]
    (sink,) = {substituted(value, WORDS) for value in variables}
    bucket, _, prefix = sink.removeprefix("s3://").partition("/")
    return f"arn:aws:s3:::{bucket}/{Place(bucket, f'{prefix}/').key(key)}"


@pytest.mark.parametrize(
    ("policy", "action", "arn", "is_allowed"),
    [
        ("LabelStudio", "s3:GetObject", queue(review_queue.image_key(f"{SHA256}.jpg")), True),
        ("LabelStudio", "s3:GetObject", queue(review_queue.task_key(SHA256)), False),
        ("LabelStudio", "s3:GetObject", queue(review_queue.GOLD), False),
        ("LabelStudio", "s3:PutObject", f"{DATA}/annotations/17", True),
        ("LabelStudio", "s3:PutObject", f"{DATA}/labels/current.json", False),
        ("LabelStudio", "s3:PutObject", f"{DATA}/raw/set/_SUCCESS", False),
        ("LabelStudio", "s3:PutObject", queue(review_queue.GOLD), False),
        ("LabellingService", "s3:GetObject", queue(review_queue.audit_key(SHA256)), True),
        ("LabellingService", "s3:GetObject", queue("predictions/2026/1.jsonl.gz"), False),
        ("LabellingService", "s3:GetObject", f"{DATA}/annotations/17", True),
        ("LabellingService", "s3:PutObject", f"{DATA}/annotations/17", False),
        ("LabellingService", "s3:PutObject", f"{DATA}/labels/current.json", True),
        ("LabellingService", "s3:PutObject", f"{DATA}/labels-report/report.html", True),
        ("LabellingService", "s3:PutObject", f"{DATA}/raw/set/_SUCCESS", False),
        ("LabellingService", "s3:PutObject", queue(review_queue.GOLD), True),
        ("LabellingService", "s3:PutObject", queue(review_queue.task_key(SHA256)), True),
        ("LabellingService", "s3:PutObject", queue(f"{review_queue.FEEDBACK}2026/1.json"), True),
        ("LabellingService", "s3:PutObject", queue(review_queue.audit_key(SHA256)), False),
        ("LabellingService", "s3:DeleteObject", f"{DATA}/labels/current.json", False),
    ],
)
def test_each_may_do_its_part_and_no_other(
    policy: str, action: str, arn: str, is_allowed: bool
) -> None:
    assert may(policy, action, arn) is is_allowed


@pytest.mark.parametrize("place", [f"{BASE}/{review_queue.IMAGES}", "annotations/"])
def test_label_studio_may_list_as_it_does(place: str) -> None:
    """It tries a new storage by the prefix that setup gives it, which has no slash at its end."""
    body = TEMPLATES["labeling"]["Resources"]["LabelStudio"]["Properties"]["PolicyDocument"]
    (listing,) = [s for s in body["Statement"] if s["Action"] == "s3:ListBucket"]
    patterns = [substituted(p, WORDS) for p in listing["Condition"]["StringLike"]["s3:prefix"]]
    for prefix in (place.rstrip("/"), place):
        assert any(fnmatchcase(prefix, pattern) for pattern in patterns)
    for other in ("", "raw/", f"{BASE}/review/", f"{BASE}/review/tasks/", "labels/"):
        assert not any(fnmatchcase(other, pattern) for pattern in patterns)


def test_what_labels_are_made_of_never_expires() -> None:
    """A label names an image of the queue; once that is gone the label trains nothing."""
    rules = TEMPLATES["foundation"]["Resources"]["Capture"]["Properties"]["LifecycleConfiguration"]
    expiring = [rule for rule in rules["Rules"] if "ExpirationInDays" in rule]
    assert expiring, "the prediction log would grow for ever"
    kept = queue(review_queue.image_key(f"{SHA256}.jpg")).removeprefix(f"{CAPTURE}/")
    for rule in expiring:
        prefix = substituted(rule["Prefix"], WORDS)
        assert not kept.startswith(prefix)
        assert queue("predictions/2026/x").removeprefix(f"{CAPTURE}/").startswith(prefix)


def test_labels_and_raw_data_never_expire() -> None:
    body = TEMPLATES["foundation"]["Resources"]["Data"]["Properties"]["LifecycleConfiguration"]
    assert not [rule for rule in body["Rules"] if "ExpirationInDays" in rule]
