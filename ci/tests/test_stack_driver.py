"""One stack brought to its template: what CloudFormation may answer, and what is said then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ci.errors import DeployError
from ci.stack_driver import StackDriver, StackRequest

REQUEST = StackRequest("visionloop-dev-x", "Resources: {}", {"Stage": "dev"}, {"stage": "dev"})


class ClientError(Exception):
    """As botocore's, whose text is what the driver reads."""


class CloudFormation:
    """A stack as documented: a change set, then events until it settles.

    ends: the status that an execution ends in. changes: what a change set finds.
    """

    class exceptions:  # noqa: N801 - boto3's own name
        ClientError = ClientError

    def __init__(self, status: str = "", ends: str = "CREATE_COMPLETE", changes: int = 1) -> None:
        self.state = status
        self.ends = ends
        self.changes = changes
        self.calls: list[str] = []
        self.events: list[dict[str, str]] = []
        self.looks = 0
        self.refusal = "The submitted information didn't contain changes."

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        if not self.state:
            raise ClientError(f"Stack with id {StackName} does not exist")
        if self.state.endswith("_IN_PROGRESS") and "execute" in self.calls:
            self.looks += 1
            if self.looks == 3:
                self.state = self.ends
                self.events.append(event("3", "Bucket", self.ends.replace("ROLLBACK", "FAILED")))
        if self.state == "DELETE_IN_PROGRESS":
            self.state = ""
            return {"Stacks": [{"StackStatus": "DELETE_IN_PROGRESS"}]}
        return {"Stacks": [{"StackStatus": self.state}]}

    def create_change_set(self, **request: Any) -> dict[str, str]:
        self.calls.append(request["ChangeSetType"])
        return {"Id": "change-set"}

    def describe_change_set(self, **_: str) -> dict[str, Any]:
        if not self.changes:
            return {"Status": "FAILED", "StatusReason": self.refusal}
        body = {"Action": "Add", "LogicalResourceId": "Bucket", "ResourceType": "AWS::S3::Bucket"}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": body}]}

    def delete_change_set(self, **_: str) -> None:
        self.calls.append("delete change set")

    def execute_change_set(self, **_: str) -> None:
        self.calls.append("execute")
        self.state = "CREATE_IN_PROGRESS"
        self.events.append(event("1", "Bucket", "CREATE_IN_PROGRESS"))
        if "ROLLBACK" in self.ends:
            self.events.append(event("2", "Bucket", "CREATE_FAILED", "the name is taken"))

    def delete_stack(self, **_: str) -> None:
        self.calls.append("delete stack")
        self.state = "DELETE_IN_PROGRESS"

    def get_paginator(self, name: str) -> CloudFormation:
        assert name == "describe_stack_events"
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        yield {"StackEvents": self.events[::-1]}


def event(number: str, resource: str, status: str, reason: str = "") -> dict[str, str]:
    return {
        "EventId": number,
        "LogicalResourceId": resource,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def apply(cloud: CloudFormation) -> tuple[bool, list[str]]:
    said: list[str] = []
    return StackDriver(cloud, said.append, lambda _: None).apply(REQUEST), said


def test_a_new_stack_is_created_and_followed_to_its_end() -> None:
    cloud = CloudFormation()
    changed, said = apply(cloud)
    assert changed
    assert cloud.calls == ["CREATE", "execute"]
    assert [line.split() for line in said] == [
        ["CREATE_IN_PROGRESS", "Bucket"],
        ["CREATE_COMPLETE", "Bucket"],
    ]


def test_of_an_update_only_its_own_events_are_said() -> None:
    cloud = CloudFormation("CREATE_COMPLETE", ends="UPDATE_COMPLETE")
    cloud.events.append(event("0", "Old", "CREATE_COMPLETE"))
    changed, said = apply(cloud)
    assert changed
    assert cloud.calls[0] == "UPDATE"
    assert not any("Old" in line for line in said)


def test_a_stack_that_is_as_it_should_be_stays() -> None:
    cloud = CloudFormation("CREATE_COMPLETE", changes=0)
    assert apply(cloud) == (False, [])
    assert cloud.calls == ["UPDATE", "delete change set"]


def test_a_failure_names_the_resource_and_its_reason() -> None:
    with pytest.raises(DeployError, match="Bucket: the name is taken; correct that"):
        apply(CloudFormation(ends="ROLLBACK_COMPLETE"))


def test_what_an_earlier_attempt_left_is_deleted_first() -> None:
    cloud = CloudFormation("ROLLBACK_COMPLETE")
    changed, said = apply(cloud)
    assert changed
    assert cloud.calls == ["delete stack", "CREATE", "execute"]
    assert "from an earlier attempt" in said[0]


def test_a_change_in_progress_is_left_alone() -> None:
    cloud = CloudFormation("UPDATE_IN_PROGRESS")
    with pytest.raises(DeployError, match="is in UPDATE_IN_PROGRESS; wait for its end"):
        apply(cloud)
    assert cloud.calls == []


def test_a_change_set_that_cannot_be_made_says_why() -> None:
    cloud = CloudFormation("CREATE_COMPLETE", changes=0)
    cloud.refusal = "Parameters: [KeyArn] cannot be found."
    with pytest.raises(DeployError, match=r"cannot be planned: Parameters: \[KeyArn\]"):
        apply(cloud)


def test_a_template_too_large_for_a_request_is_refused_at_once() -> None:
    request = StackRequest("visionloop-dev-x", "#" * 52_000, {})
    with pytest.raises(DeployError, match="has over 51200 bytes"):
        StackDriver(CloudFormation(), print, lambda _: None).apply(request)
