"""Create or update one CloudFormation stack by a change set, and follow it to its end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ci.errors import DeployError

_LIMIT_BYTES = 51_200  # of a template in the request itself
_POLL_S = 2.0
_MAX_WAIT_S = 3600.0
_UNUSABLE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_UNCHANGED = ("didn't contain changes", "No updates are to be performed", "no changes")


@dataclass(frozen=True)
class Change:
    """One resource that a stack would add, modify, replace or remove."""

    action: str
    resource: str
    type: str

    def __str__(self) -> str:
        return f"{self.action:8} {self.resource:28} {self.type}"


@dataclass(frozen=True)
class StackRequest:
    """A stack as it shall be."""

    name: str
    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


class StackDriver:
    """One account's CloudFormation; `client` is boto3's.

    say: told what goes on, a line each.
    """

    def __init__(
        self,
        client: Any,
        say: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._say = say
        self._pause = pause

    def status(self, name: str) -> str:
        """Return the stack's status; "" where there is none."""
        try:
            (stack,) = self._client.describe_stacks(StackName=name)["Stacks"]
        except self._client.exceptions.ClientError as err:
            if "does not exist" in str(err):
                return ""
            raise
        status = str(stack["StackStatus"])
        return "" if status == "DELETE_COMPLETE" else status

    def parameters(self, name: str) -> dict[str, str]:
        """Return the values that a stack runs with; none where there is no stack."""
        if not self.status(name):
            return {}
        (stack,) = self._client.describe_stacks(StackName=name)["Stacks"]
        return {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", [])}

    def preview(self, request: StackRequest) -> list[Change]:
        """Return what an update of a stack would change, without changing it."""
        changes, change_set = self._change_set(request, "UPDATE")
        if change_set:
            self._client.delete_change_set(ChangeSetName=change_set)
        return changes

    def apply(self, request: StackRequest) -> bool:
        """Create or update the stack and wait; return whether anything changed.

        Raises:
            DeployError: CloudFormation failed, or another change is in progress.
        """
        status = self.status(request.name)
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise DeployError(
                f"deploy: {request.name} is in {status}; wait for its end and run this again"
            )
        if status in _UNUSABLE:
            self._remove(request.name, status)
            status = ""
        is_new = status in ("", "REVIEW_IN_PROGRESS")
        changes, change_set = self._change_set(request, "CREATE" if is_new else "UPDATE")
        if not changes:
            if change_set:
                self._client.delete_change_set(ChangeSetName=change_set)
            return False
        known = set() if is_new else {event["EventId"] for event in self._events(request.name)}
        self._client.execute_change_set(ChangeSetName=change_set)
        self._follow(request.name, known)
        return True

    def _change_set(self, request: StackRequest, kind: str) -> tuple[list[Change], str]:
        if len(request.template.encode()) > _LIMIT_BYTES:
            raise DeployError(
                f"deploy: the template of {request.name} has over {_LIMIT_BYTES} bytes"
            )
        answer = self._client.create_change_set(
            StackName=request.name,
            ChangeSetName=f"visionloop-{uuid.uuid4().hex}",
            ChangeSetType=kind,
            TemplateBody=request.template,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in request.parameters.items()
            ],
            Tags=[{"Key": key, "Value": value} for key, value in request.tags.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        change_set = answer["Id"]
        deadline = time.monotonic() + _MAX_WAIT_S
        while True:
            body = self._client.describe_change_set(ChangeSetName=change_set)
            if body["Status"] == "CREATE_COMPLETE":
                return [_change(change["ResourceChange"]) for change in body["Changes"]], change_set
            if body["Status"] == "FAILED":
                reason = body.get("StatusReason", "")
                if any(words in reason for words in _UNCHANGED):
                    return [], change_set
                raise DeployError(f"deploy: {request.name} cannot be planned: {reason}")
            self._wait(deadline, request.name)

    def _follow(self, name: str, known: set[str]) -> None:
        """Say what becomes of each resource until the stack has settled."""
        deadline = time.monotonic() + _MAX_WAIT_S
        failures: list[str] = []
        while True:
            status = self.status(name)
            for event in self._events(name):
                if event["EventId"] in known:
                    continue
                known.add(event["EventId"])
                state, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
                self._say(f"  {state:28} {event['LogicalResourceId']}")
                if state.endswith("_FAILED"):
                    failures.append(f"{event['LogicalResourceId']}: {reason}")
            if not status.endswith("_IN_PROGRESS"):
                break
            self._wait(deadline, name)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            reasons = "; ".join(failures[:3]) or "see its events"
            raise DeployError(
                f"deploy: {name} ended in {status}: {reasons}; correct that and run this again"
            )

    def _events(self, name: str) -> list[dict[str, Any]]:
        """Return the stack's events, the oldest first."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=name)
        return [event for page in pages for event in page["StackEvents"]][::-1]

    def _remove(self, name: str, status: str) -> None:
        """Delete a stack whose creation failed: CloudFormation can only delete such a one."""
        self._say(f"  {name} is in {status} from an earlier attempt: it is deleted first")
        self._client.delete_stack(StackName=name)
        deadline = time.monotonic() + _MAX_WAIT_S
        while status := self.status(name):
            if status == "DELETE_FAILED":
                raise DeployError(f"deploy: {name} cannot be deleted; see its events")
            self._wait(deadline, name)

    def _wait(self, deadline: float, name: str) -> None:
        if time.monotonic() > deadline:
            raise DeployError(
                f"deploy: {name} has not settled in {_MAX_WAIT_S:.0f} s; see its events"
            )
        self._pause(_POLL_S)


def _change(body: Mapping[str, Any]) -> Change:
    action = {"Add": "create", "Modify": "change", "Remove": "remove"}.get(
        body["Action"], body["Action"]
    )
    if body.get("Replacement") == "True":
        action = "replace"
    return Change(action, body["LogicalResourceId"], body["ResourceType"])
