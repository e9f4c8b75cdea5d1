"""A commit releases: what the buildspecs call exists, in its order, and may do no more."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import yaml
from moto.events.models import EventPattern

import pipeline
from ci.__main__ import COMMANDS
from ci.problems import REPOSITORY
from ci.templates import load_template, substituted, walk
from shared.pipeline import cli
from shared.pipeline.settings import Settings

TEMPLATE = load_template(REPOSITORY / "ci/stacks/ci.yaml")
RESOURCES = TEMPLATE["Resources"]
BUILDSPECS = {
    p.stem: yaml.safe_load(p.read_text()) for p in (REPOSITORY / "ci/buildspecs").iterdir()
}
WORKFLOW = yaml.safe_load((REPOSITORY / "ci/stacks/github-actions.example.yml").read_text())
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
WORDS = {"Project": "visionloop", "Stage": "dev"}


def _commands(buildspec: dict[str, Any]) -> list[str]:
    return [command for phase in buildspec["phases"].values() for command in phase["commands"]]


@pytest.mark.parametrize("name", sorted(BUILDSPECS))
def test_every_command_of_a_buildspec_exists(name: str) -> None:
    for command in _commands(BUILDSPECS[name]):
        words = shlex.split(command)
        match words:
            case ["make", target, *_]:
                assert target in TARGETS
            case [".venv/bin/python", "-m", "ci", verb, *_]:
                assert verb in COMMANDS
            case [".venv/bin/python", "pipeline.py", *arguments]:
                built = pipeline.build(Settings())
                parsed = cli.parser(built).parse_args(arguments)
                assert {word.partition("=")[0] for word in parsed.parameters} <= {
                    parameter.name for parameter in built.parameters
                }
            case _:
                pytest.fail(f"{name}: '{command}' is neither make, ci nor pipeline.py")


def test_a_release_is_tested_before_it_is_pushed_and_scanned_before_it_is_used() -> None:
    verbs = [re.search(r"make \w+|ci \w+|pipeline", c) for c in _commands(BUILDSPECS["release"])]
    assert [verb[0] for verb in verbs if verb] == [
        "make setup",
        "make test",
        "ci changed",
        "ci push",
        "ci scan",
        "pipeline",
        "ci wake",
    ]


def test_a_release_starts_nothing_by_itself() -> None:
    """A run beside another, without people's labels and without a champion, would be its fruit."""
    assert not [c for c in _commands(BUILDSPECS["release"]) if "--start" in c]
    statements = RESOURCES["ReleaseRights"]["Properties"]["PolicyDocument"]["Statement"]
    actions = {action for s in statements for action in _list(s["Action"])}
    assert "sagemaker:StartPipelineExecution" not in actions
    assert "sqs:SendMessage" in actions


def test_the_first_command_that_fails_ends_a_build() -> None:
    """CodeBuild runs post_build though build has failed: nothing may stand there."""
    for buildspec in BUILDSPECS.values():
        assert list(buildspec["phases"]) == ["install", "build"]
        assert all("finally" not in phase for phase in buildspec["phases"].values())


def test_the_example_of_github_actions_does_what_the_buildspec_does() -> None:
    (job,) = WORKFLOW["jobs"].values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == _commands(BUILDSPECS["release"])
    assert WORKFLOW["permissions"] == {"contents": "read", "id-token": "write"}
    assert set(job["env"]) == set(_variables("Release"))


def _variables(project: str) -> dict[str, Any]:
    given = RESOURCES[project]["Properties"]["Environment"].get("EnvironmentVariables", [])
    return {variable["Name"]: variable["Value"] for variable in given}


@pytest.mark.parametrize("project", ["Test", "Release"])
def test_a_build_runs_a_buildspec_that_is_there_with_the_variables_it_reads(project: str) -> None:
    path = RESOURCES[project]["Properties"]["Source"]["BuildSpec"]
    text = (REPOSITORY / path).read_text()
    assert set(re.findall(r"\$(VISIONLOOP_\w+)", text)) <= set(_variables(project))


def test_what_a_build_sets_is_read_by_the_pipeline() -> None:
    known = (REPOSITORY / "shared/pipeline/settings.py").read_text()
    own = {"VISIONLOOP_PIPELINE"}  # the buildspec's
    assert all(name in known for name in set(_variables("Release")) - own)


def test_a_pull_request_may_write_its_log_and_nothing_else() -> None:
    properties = RESOURCES["TestRole"]["Properties"]
    actions = {a for each in walk(properties) for a in _list(each.get("Action"))}
    assert actions == {
        "sts:AssumeRole",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "codeconnections:GetConnection",
        "codeconnections:GetConnectionToken",
    }
    attached = RESOURCES["ReleaseRights"]["Properties"]["Roles"]
    assert "TestRole" not in json.dumps(attached)
    assert "PrivilegedMode" not in RESOURCES["Test"]["Properties"]["Environment"]


def test_a_release_hands_over_the_pipelines_role_and_no_other() -> None:
    statements = RESOURCES["ReleaseRights"]["Properties"]["PolicyDocument"]["Statement"]
    (passing,) = (s for s in statements if "iam:PassRole" in _list(s["Action"]))
    assert passing["Resource"] == {"Ref": "PipelineRoleArn"}
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
    }
    everywhere = [s["Action"] for s in statements if s["Resource"] == "*"]
    assert everywhere == ["ecr:GetAuthorizationToken"]
    assert not [a for s in statements for a in _list(s["Action"]) if "*" in a]


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def test_only_pushes_to_the_branch_release_and_only_its_role_may_be_taken_from_there() -> None:
    (filters,) = RESOURCES["Release"]["Properties"]["Triggers"]["FilterGroups"]
    found = {f["Type"]: substituted(f["Pattern"], {"Branch": "main"}) for f in filters}
    assert found == {"EVENT": "PUSH", "HEAD_REF": "^refs/heads/main$"}
    (statement,) = RESOURCES["GitHubRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    subject = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subject["Fn::Sub"][0] == "repo:${Name}:ref:refs/heads/${Branch}"


@pytest.mark.parametrize(
    ("project", "status", "is_caught"),
    [
        ("visionloop-dev-release", "FAILED", True),
        ("visionloop-dev-release", "TIMED_OUT", True),
        ("visionloop-dev-release", "SUCCEEDED", False),
        ("visionloop-dev-release", "IN_PROGRESS", False),
        ("visionloop-dev2-release", "FAILED", False),
        ("visionloop-dev-test", "FAILED", False),
    ],
)
def test_a_release_that_failed_is_noticed(project: str, status: str, is_caught: bool) -> None:
    event = _build_event(project, status)
    properties = RESOURCES["BuildFailed"]["Properties"]
    pattern = {**properties["EventPattern"]}
    names = [substituted(name, WORDS) for name in pattern["detail"]["project-name"]]
    pattern["detail"] = {**pattern["detail"], "project-name": names}
    assert EventPattern.load(json.dumps(pattern)).matches_event(event) is is_caught
    (target,) = properties["Targets"]
    for path in target["InputTransformer"]["InputPathsMap"].values():
        found: Any = event
        for name in path.removeprefix("$.").split("."):
            found = found[name]
        assert found


def _build_event(project: str, status: str) -> dict[str, Any]:
    """CodeBuild's documented sample, shortened."""
    arn = f"arn:aws:codebuild:us-west-2:123456789012:build/{project}:8745a7a9-c340-456a-9166"
    return {
        "version": "0",
        "id": "c030038d-8c4d-6141-9545-00ff7b7153EX",
        "detail-type": "CodeBuild Build State Change",
        "source": "aws.codebuild",
        "account": "123456789012",
        "time": "2017-09-01T16:14:28Z",
        "region": "us-west-2",
        "resources": [arn],
        "detail": {
            "build-status": status,
            "project-name": project,
            "build-id": arn,
            "additional-information": {
                "initiator": "MyCodeBuildDemoUser",
                "logs": {"deep-link": "https://console.aws.amazon.com/cloudwatch/home#logEvent"},
            },
            "current-phase": "COMPLETED",
            "version": "1",
        },
    }
