"""Where `ci deploy` takes each parameter's value from, and that a plan only reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ci.deploy import Stage
from ci.problems import REPOSITORY
from shared.component.errors import UsageError


class RefusedError(Exception):
    """As botocore's ClientError."""


class Account:
    """The three services that a plan reads.

    stacks: the parameters in force of each stack there is. tuned: operators' parameters.
    """

    class exceptions:  # noqa: N801 - boto3's own name
        ClientError = RefusedError

    class meta:  # noqa: N801 - boto3's own name
        region_name = "us-east-1"

    def __init__(self, stacks: dict[str, dict[str, str]] | None = None, **tuned: str) -> None:
        self.stacks = stacks or {}
        self.tuned = tuned
        self.paths: list[str] = []

    def __call__(self, service: str) -> Account:
        assert service in ("sts", "cloudformation", "ssm")
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123456789012"}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        if StackName not in self.stacks:
            raise RefusedError(f"Stack with id {StackName} does not exist")
        values = self.stacks[StackName].items()
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in values]
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Parameters": parameters}]}

    def get_paginator(self, name: str) -> Account:
        assert name == "get_parameters_by_path"
        return self

    def paginate(self, Path: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        self.paths.append(Path)
        names = {name.replace("_", "-"): value for name, value in self.tuned.items()}
        yield {"Parameters": [{"Name": f"{Path}/{n}", "Value": v} for n, v in names.items()]}


def stage_of(account: Account, project: str = "visionloop", stage: str = "dev") -> Stage:
    return Stage(project, stage, account, REPOSITORY, Path("none"))


def parameters(stack: str, account: Account, **given: str) -> dict[str, str]:
    return dict(stage_of(account).request(stack, given).parameters)


@pytest.mark.parametrize(
    ("stack", "name", "value"),
    [
        ("triggers", "QuietS", "60"),
        ("triggers", "CodeBucket", "another-bucket"),
        ("triggers", "KeyArn", "/shared/key"),
        ("deploy", "PredictImage", f"r/serverless@sha256:{'0' * 64}"),
        ("parameters", "MinimumUntrainedImages", "30"),
    ],
)
def test_what_is_set_counts_before_all_else(stack: str, name: str, value: str) -> None:
    account = Account(Minimum_Untrained_Images="20")
    assert parameters(stack, account, **{name: value})[name] == value


def test_what_was_set_once_stays_when_it_is_not_said_again() -> None:
    account = Account({"visionloop-dev-triggers": {"QuietS": "60", "KeyArn": "/old"}})
    found = parameters("triggers", account)
    assert found["QuietS"] == "60"
    assert found["KeyArn"] == "/visionloop/dev/stack/foundation/KeyArn"
    assert "DelayS" not in found  # the template's default


def test_another_project_reads_its_own_paths_and_buckets() -> None:
    account = Account()
    request = stage_of(account, "birds", "prod").request("triggers", {})
    assert request.name == "birds-prod-triggers"
    assert request.parameters["KeyArn"] == "/birds/prod/stack/foundation/KeyArn"
    assert request.parameters["CodeBucket"] == "birds-prod-artifacts-123456789012-us-east-1"
    assert request.tags == {
        "project": "birds",
        "stage": "prod",
        "stack": "triggers",
        "managed-by": "visionloop",
    }
    stage_of(account, "birds", "prod").request("parameters", {})
    assert account.paths == ["/birds/prod/operator"]


def test_what_operators_tuned_is_handed_in_as_the_template_takes_it() -> None:
    tuned = {"Enable_Human_Review": "false", "Minimum_F1_Score": "0.00001"}
    found = parameters("parameters", Account(**tuned))
    assert found["EnableHumanReview"] == "false"
    assert found["MinimumF1Score"] == "0.000010000"


def test_a_plan_of_a_new_stage_writes_nothing() -> None:
    stage = stage_of(Account())  # which can do nothing but read
    for stack in stage.stacks:
        changes = stage.preview(stack, {})
        assert {change.action for change in changes} == {"create"}


@pytest.mark.parametrize("name", ["Project", "Stage", "Quiet"])
def test_what_no_template_takes_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no template has a parameter '{name}'"):
        stage_of(Account()).check({name: "x"})
