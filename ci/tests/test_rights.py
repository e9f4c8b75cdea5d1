"""What roles may do exists and can be said of what it is said of, by AWS's own table of rights.

The table (service authorization reference) comes with cfn-lint, which itself looks at actions
alone: an action on a resource of another kind passes every linter, and is denied by AWS.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ci.problems import REPOSITORY
from ci.templates import load_templates, substituted, walk

WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
}
# May name an alarm or a package, but is asked for lists of them, or of what does not exist yet.
WIDE_ON_PURPOSE = {
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",  # may name a data set of OpenTelemetry; ours are plain metrics
    "cloudwatch:PutMetricData",
    "sagemaker:ListModelPackages",
}


class Grant(NamedTuple):
    """One Allow statement of a role of ours."""

    place: str
    actions: list[str]
    resources: list[str]


def _table() -> dict[str, Any]:
    path = importlib.resources.files("cfnlint") / "data/AdditionalSpecs/Policies.json"
    table: dict[str, Any] = json.loads(path.read_text())
    return table


TABLE = _table()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _grants() -> Iterator[Grant]:
    for stack, template in load_templates(REPOSITORY).items():
        for name, body in template["Resources"].items():
            if body["Type"] not in ("AWS::IAM::Role", "AWS::IAM::Policy"):
                continue
            for each in walk(body["Properties"]):
                if each.get("Effect") == "Allow" and "Resource" in each:
                    resources = [substituted(r, WORDS) for r in _listed(each["Resource"])]
                    yield Grant(f"{stack}.{name}", _listed(each["Action"]), resources)


GRANTS = list(_grants())


def _kinds(action: str) -> list[str] | None:
    """Return the kinds of resources an action is asked of; None: there is no such action."""
    service, _, name = action.partition(":")
    found = TABLE.get(service, {}).get("Actions", {}).get(name.lower())
    return None if found is None else list(found.get("Resources", ()))


def _fits(action: str, resource: str) -> bool:
    """Tell whether a resource can be of a kind that the action is asked of."""
    if not resource.startswith("arn:"):
        return True  # a reference: what it is shows only when deployed
    resources = TABLE[action.partition(":")[0]]["Resources"]
    for kind in _kinds(action) or ():
        for arn in resources[kind.lower()]["ARNFormats"]:
            if re.fullmatch(re.sub(r"\$\{\w+\}", "[^:]*", arn), resource):
                return True
    return False


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: f"{grant.place}-{grant.actions[0]}")
def test_a_role_may_do_what_exists_on_what_it_can_be_done_to(grant: Grant) -> None:
    for action in grant.actions:
        kinds = _kinds(action)
        assert kinds is not None, f"{action} does not exist"
        if not kinds:
            assert grant.resources == ["*"], f"{action} is asked of no resource"
        elif grant.resources == ["*"]:
            assert action in WIDE_ON_PURPOSE, f"{action} could name {kinds}"
        else:
            assert any(_fits(action, r) for r in grant.resources), f"{action} needs one of {kinds}"


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: f"{grant.place}-{grant.actions[0]}")
def test_no_resource_stands_where_no_action_reaches_it(grant: Grant) -> None:
    for resource in grant.resources:
        is_reached = any(_fits(action, resource) for action in grant.actions)
        # The table says packages; older pages of AWS, the group: whichever it is.
        is_group = ":model-package-group/" in resource
        is_listing = is_group and "sagemaker:ListModelPackages" in grant.actions
        assert resource == "*" or is_reached or is_listing, resource


@pytest.mark.parametrize(
    ("action", "resource", "fits"),
    [
        ("s3:GetObject", "arn:aws:s3:::bucket/*", True),
        ("s3:ListBucket", "arn:aws:s3:::bucket", True),
        ("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:x", True),
        ("lambda:InvokeFunction", "arn:aws:states:us-east-1:123456789012:stateMachine:x", False),
        ("sagemaker:StartPipelineExecution", "arn:aws:sagemaker:us-east-1:1:model/x", False),
    ],
)
def test_the_table_tells_kinds_apart(action: str, resource: str, fits: bool) -> None:
    assert _fits(action, resource) is fits
