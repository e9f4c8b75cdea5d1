"""The rules' patterns, read out of the templates, against events as AWS documents them.

Matched by moto's matcher, which says yes to an operator that it does not know; therefore
every operator in our patterns is one of those that it was compared with AWS's answers on.
Samples: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from moto.events.models import EventPattern

from ci.problems import REPOSITORY
from ci.templates import load_templates, substituted

PROVEN_OPERATORS = {"prefix", "suffix", "anything-but", "exists", "numeric"}
WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::AccountId": "123456789012",
    "AWS::Region": "us-east-1",
    "AWS::Partition": "aws",
}
DATA = "visionloop-dev-data-123456789012-us-east-1"
CREATED: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "123456789012",
    "time": "2021-11-12T00:00:00Z",
    "region": "us-east-1",
    "resources": [f"arn:aws:s3:::{DATA}"],
    "detail": {
        "version": "0",
        "bucket": {"name": DATA},
        "object": {
            "key": "labels/current.json",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "1.2.3.4",
        "reason": "PutObject",
    },
}


def s3_event(key: str, detail_type: str = "Object Created", **detail: Any) -> dict[str, Any]:
    event = deepcopy(CREATED)
    event["detail-type"] = detail_type
    event["detail"]["object"]["key"] = key
    event["detail"] |= detail
    return event


DELETED = {"reason": "DeleteObject", "deletion-type": "Delete Marker Created"}


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for stack, template in load_templates(REPOSITORY).items():
        for name, body in template["Resources"].items():
            if body["Type"] == "AWS::Events::Rule" and "EventPattern" in body["Properties"]:
                yield f"{stack}.{name}", _plain(body["Properties"]["EventPattern"])


def _plain(value: Any) -> Any:
    """Return a pattern with names put in, as EventBridge gets it."""
    if isinstance(value, dict):
        if {"Ref", "Fn::Sub"} & value.keys():
            return substituted(value, WORDS)
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


RULES = dict(rules())


def matches(rule: str, event: dict[str, Any]) -> bool:
    return bool(EventPattern.load(json.dumps(RULES[rule])).matches_event(event))


def operators(pattern: Any) -> Iterator[str]:
    """Yield the operators of a pattern: keys of mappings inside its lists."""
    if isinstance(pattern, dict):
        for inner in pattern.values():
            yield from operators(inner)
    elif isinstance(pattern, list):
        for choice in pattern:
            if isinstance(choice, dict):
                yield from choice


@pytest.mark.parametrize("rule", RULES)
def test_a_pattern_uses_operators_whose_matching_is_proven(rule: str) -> None:
    assert set(operators(RULES[rule])) <= PROVEN_OPERATORS
    assert {"source", "detail-type"} <= RULES[rule].keys()
    assert "${" not in json.dumps(RULES[rule])


def test_an_unknown_operator_is_seen() -> None:
    pattern = {"source": ["aws.s3"], "detail": {"object": {"key": [{"regex": "x"}]}}}
    assert set(operators(pattern)) - PROVEN_OPERATORS == {"regex"}


@pytest.mark.parametrize(
    ("event", "raw", "labels"),
    [
        (s3_event("raw/scenes/_SUCCESS"), True, False),
        (s3_event("raw/scenes/_SUCCESS", reason="CompleteMultipartUpload"), True, False),
        (s3_event("raw/scenes/_SUCCESS", reason="CopyObject"), True, False),
        (s3_event("raw/scenes/sea/1.jpg"), False, False),
        (s3_event("raw/scenes/_SUCCESS.part"), False, False),
        (s3_event("raw/scenes/_SUCCESS", "Object Deleted", **DELETED), False, False),
        (s3_event("labels/current.json"), False, True),
        (s3_event("labels/current.json", reason="CopyObject"), False, True),
        (s3_event("labels/current.json", "Object Deleted", **DELETED), False, True),
        (s3_event("labels/current.json", "Object Tags Added"), False, False),
        (s3_event("labels/current.json", "Object Restore Completed"), False, False),
        (s3_event(f"labels/{'0' * 64}.json"), False, False),
        (s3_event("annotations/17"), False, False),
        (s3_event("other/labels/current.json"), False, False),
        (s3_event("Labels/current.json"), False, False),
        (
            s3_event("labels/current.json", bucket={"name": DATA.replace("data", "capture")}),
            False,
            False,
        ),
        (
            s3_event("labels/current.json", bucket={"name": DATA.replace("dev", "prod")}),
            False,
            False,
        ),
        (s3_event("raw/x/_SUCCESS", bucket={"name": "somebody-elses"}), False, False),
        (s3_event("labels/current.json") | {"source": "aws.s3control"}, False, False),
    ],
)
def test_what_comes_to_the_data_bucket_wakes_retrain_and_nothing_else_does(
    event: dict[str, Any], raw: bool, labels: bool
) -> None:
    assert matches("triggers.RawData", event) is raw
    assert matches("triggers.Labels", event) is labels
