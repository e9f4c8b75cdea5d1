"""Rules for the templates that no linter has: names, rights without bounds and their reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ci.problems import Problem
from ci.templates import STACKS, Json, load_template, walk

_EVERYTHING = re.compile(r"""^\s*(-\s*)?(Resource:\s*)?['"]?\*['"]?\s*$""")
_WITHIN = re.compile(r"""Resource:\s*(\[\s*)?['"]\*['"]""")
# A key's policy names its own account's root with kms:*, as AWS's default key policy does.
_KEY_POLICIES = {"AWS::KMS::Key"}
# What gives a resource its name, by type; others are named by CloudFormation or need none.
_NAMES = (
    "AlarmName",
    "BucketName",
    "DashboardName",
    "FunctionName",
    "ManagedPolicyName",
    "ModelPackageGroupName",
    "QueueName",
    "RoleName",
    "StateMachineName",
    "TopicName",
)
_PREFIX = "${Project}-${Stage}"


def check_stacks(root: Path) -> Iterator[Problem]:
    """Yield what breaks a rule in any template below `root`."""
    for path in sorted((root / STACKS).glob("*.yaml")):
        body = load_template(path) if "Resources:" in path.read_text() else None
        if body is None:
            continue  # an example that is no template
        for message in (
            *_unexplained(path.read_text()),
            *_wildcards(body),
            *_foreign_names(body),
        ):
            yield Problem(path.relative_to(root), message)


def _unexplained(text: str) -> Iterator[str]:
    """Yield lines with `*` as resource whose line above gives no reason."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not (_EVERYTHING.match(line) or _WITHIN.search(line)):
            continue
        if not lines[number - 1].strip().startswith("#"):
            yield f"line {number + 1}: '*' as resource needs its reason in the line above"


def _wildcards(body: Json) -> Iterator[str]:
    """Yield actions with a wildcard that are allowed."""
    for name, resource in body["Resources"].items():
        if resource["Type"] in _KEY_POLICIES:
            continue
        for statement in walk(resource):
            actions = statement.get("Action", ())
            listed = [actions] if isinstance(actions, str) else actions
            if statement.get("Effect") == "Allow" and any("*" in str(a) for a in listed):
                yield f"{name}: name each action, not {listed}"


def _foreign_names(body: Json) -> Iterator[str]:
    """Yield names that another project or stage could have."""
    for name, resource in body["Resources"].items():
        properties = resource.get("Properties", {})
        for key in _NAMES:
            given = properties.get(key)
            text = given.get("Fn::Sub", given) if isinstance(given, dict) else given
            if isinstance(text, str) and not text.startswith(_PREFIX):
                yield f"{name}: {key} begins with {_PREFIX}, not {text}"
