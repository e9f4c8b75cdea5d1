"""python -m ci deploy --stage dev: create or update the stacks on AWS, in their order.

    python -m ci deploy --stage dev --dry-run      what it would do
    python -m ci deploy --stage dev                shows that, asks, and does it
    python -m ci deploy --stage dev --yes --set NoticeEmail=ops@example.com --set Target=serverless

The same command updates. What operators have tuned stays as it is; parameters of the stacks
that are not given keep the values they have, or their templates' defaults. An interrupted or
failed run is taken up by the next.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.aws import aws_errors
from ci.errors import DeployError
from ci.functions import FunctionCode, component_of_parameter, pack, upload
from ci.parameters import template_parameter
from ci.problems import REPOSITORY
from ci.stack_driver import Change, StackDriver, StackRequest
from ci.templates import ORDER, STACKS, load_templates
from shared.component.errors import UsageError
from shared.component.operator import ParameterStore, read_operator
from shared.component.port import ParameterValue
from shared.pipeline.images import read_pushed
from shared.pipeline.settings import Settings

Json = dict[str, Any]
_PROJECT = re.compile("[a-z][a-z0-9-]{1,19}")
_STAGE = re.compile("[a-z][a-z0-9]{0,9}")
_PATH_OF = re.compile(r"^/visionloop/dev/")  # as the templates' defaults have it
# Images that functions run, by the parameter that takes them.
_IMAGES = {"PredictImage": "serverless", "WebImage": "web"}
_EVERYWHERE = {"Project", "Stage"}


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Show the plan, ask, and bring the stacks to it."""
    arguments = _parser().parse_args(argv)
    given = _given(arguments)
    import boto3

    settings = Settings.from_environ()
    with aws_errors("deploy", DeployError):
        session = boto3.Session(region_name=settings.region)
        stage = Stage(arguments.project, arguments.stage, session.client, root, settings.home)
        stage.check(given)
        _say(f"{stage.prefix} in account {stage.account}, {settings.region}:")
        is_changing = _show(stage, given)
        if arguments.dry_run or not is_changing:
            return 0
        if not arguments.yes and not _agrees():
            _say("nothing was changed")
            return 1
        stage.apply(given, _say)
    _say(_next_steps(stage))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--project", default="visionloop", help="first part of every name; default visionloop")
    add("--stage", default="dev", help="second part of every name; default dev")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a template's parameter")
    add("--dry-run", action="store_true", help="show the plan and change nothing")
    add("--yes", action="store_true", help="do not ask")
    return parser


def _given(arguments: argparse.Namespace) -> dict[str, str]:
    for word, pattern in ((arguments.project, _PROJECT), (arguments.stage, _STAGE)):
        if not pattern.fullmatch(word):
            raise UsageError(f"deploy: '{word}' is no name of ours; it takes {pattern.pattern}")
    given = {}
    for text in arguments.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"deploy: --set takes NAME=VALUE, not '{text}'")
        given[name] = value
    return given


@dataclass
class Stage:
    """One stage's stacks in one account.

    client: boto3's Session.client or alike: makes a client by the service's name.
    root: the repository; home: where `ci push` remembers digests.
    """

    project: str
    stage: str
    client: Callable[[str], Any]
    root: Path
    home: Path
    account: str = ""
    region: str = ""
    pause: Callable[[float], None] = time.sleep
    templates: Mapping[str, Json] = field(default_factory=dict)
    codes: dict[str, FunctionCode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.account = self.account or self.client("sts").get_caller_identity()["Account"]
        self.region = self.region or self.client("cloudformation").meta.region_name
        self.templates = self.templates or load_templates(self.root)

    @property
    def prefix(self) -> str:
        return f"{self.project}-{self.stage}"

    @property
    def stacks(self) -> list[str]:
        """Return the stacks there are templates for, in the order of deployment."""
        return [name for name in ORDER if name in self.templates]

    def bucket(self, thing: str) -> str:
        return f"{self.prefix}-{thing}-{self.account}-{self.region}"

    def check(self, given: Mapping[str, str]) -> None:
        """Refuse a --set that no template knows.

        Raises:
            UsageError: no template has the parameter.
        """
        known = {name for body in self.templates.values() for name in body.get("Parameters", {})}
        for name in given:
            if name not in known - _EVERYWHERE:
                settable = ", ".join(sorted(known - _EVERYWHERE))
                raise UsageError(
                    f"deploy: no template has a parameter '{name}'; there are {settable}"
                )

    def request(self, stack: str, given: Mapping[str, str]) -> StackRequest:
        """Return the stack as it shall be."""
        driver = self._driver()
        name = f"{self.prefix}-{stack}"
        in_force = driver.parameters(name)
        tuned = self._tuned() if stack == "parameters" else {}
        parameters = {}
        for parameter, body in self.templates[stack].get("Parameters", {}).items():
            sources = (given.get(parameter), self._own(parameter, body), tuned.get(parameter))
            value = next((v for v in (*sources, in_force.get(parameter)) if v is not None), None)
            if value is not None:
                parameters[parameter] = value
            elif "Default" not in body:
                raise UsageError(f"deploy: {stack} needs {parameter}; pass --set {parameter}=VALUE")
        tags = {
            "project": self.project,
            "stage": self.stage,
            "stack": stack,
            "managed-by": "visionloop",
        }
        text = (self.root / STACKS / f"{stack}.yaml").read_text()
        return StackRequest(name, text, parameters, tags)

    def preview(self, stack: str, given: Mapping[str, str]) -> list[Change]:
        """Return what would change in a stack."""
        driver = self._driver()
        if driver.status(f"{self.prefix}-{stack}") in _STANDING:
            return driver.preview(self.request(stack, given))
        resources = self.templates[stack]["Resources"].items()
        return [Change("create", name, body["Type"]) for name, body in resources]

    def apply(self, given: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Bring every stack to its template, each after those it needs.

        Raises:
            DeployError: CloudFormation failed; what was done before stays.
        """
        driver = self._driver(say)
        for stack in self.stacks:
            request = self.request(stack, given)
            for code in self._codes_of(stack):
                if upload(code, self.client("s3"), self.bucket("artifacts")):
                    say(f"  uploaded {code.key}, {len(code.data) / 1e3:.0f} kB")
            say(f"{request.name}: {'done' if driver.apply(request) else 'unchanged'}")

    def _driver(self, say: Callable[[str], None] = lambda _: None) -> StackDriver:
        return StackDriver(self.client("cloudformation"), say, self.pause)

    def _own(self, parameter: str, body: Json) -> str | None:
        """Return what the command itself knows of a parameter, or None."""
        if parameter in ("Project", "Stage"):
            return self.project if parameter == "Project" else self.stage
        if str(body["Type"]).startswith("AWS::SSM::Parameter::Value"):
            return _PATH_OF.sub(f"/{self.project}/{self.stage}/", str(body["Default"]))
        if parameter == "CodeBucket":
            return self.bucket("artifacts")
        if component := component_of_parameter(parameter):
            return self._code(component).key
        if image := _IMAGES.get(parameter):
            pushed = read_pushed(self.home).get(image)
            return pushed.uri if pushed else None
        return None

    def _codes_of(self, stack: str) -> list[FunctionCode]:
        names = map(component_of_parameter, self.templates[stack].get("Parameters", {}))
        return [self._code(name) for name in names if name]

    def _code(self, component: str) -> FunctionCode:
        if component not in self.codes:
            self.codes[component] = pack(component, self.root)
        return self.codes[component]

    def _tuned(self) -> dict[str, str]:
        """Return the operators' values in force, so that an update of the stack changes none."""
        path = f"/{self.project}/{self.stage}/operator"
        values = read_operator(ParameterStore(self.client("ssm"), path)).values
        return {template_parameter(name): _text(value) for name, value in values.items()}


_STANDING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


def _text(value: ParameterValue) -> str:
    """Return a value as templates take it: no True, no 1e-05."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f"{value:.9f}" if isinstance(value, float) and "e" in text else text


def _show(stage: Stage, given: Mapping[str, str]) -> bool:
    """Print what would change; return whether anything would."""
    is_changing = False
    for stack in stage.stacks:
        changes = stage.preview(stack, given)
        _say(
            f"{stage.prefix}-{stack}: {len(changes)} changes"
            if changes
            else f"{stage.prefix}-{stack}: as it is"
        )
        for change in changes:
            _say(f"  {change}")
        is_changing = is_changing or bool(changes)
    return is_changing


def _agrees() -> bool:
    sys.stderr.write("Do this? Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def _next_steps(stage: Stage) -> str:
    registry = f"{stage.account}.dkr.ecr.{stage.region}.amazonaws.com/{stage.prefix}"
    role = f"arn:aws:iam::{stage.account}:role/{stage.prefix}-pipeline"
    which = f"--project {stage.project} --stage {stage.stage}"
    return f"""
pages: {_pages(stage)}
next: images, the pipeline, data
  export VISIONLOOP_PROJECT={stage.project}
  export VISIONLOOP_BUCKET={stage.bucket("artifacts")}
  export VISIONLOOP_ROLE={role}
  export VISIONLOOP_IMAGE_REGISTRY={registry}
  python -m ci push
  python pipeline.py --upsert --name {stage.prefix}
  python -m ci deploy {which}    # the pages need their image
  python -m ci invite you@example.com --group operator {which}
  aws s3 sync photos/ s3://{stage.bucket("data")}/raw/photos/
  aws s3api put-object --bucket {stage.bucket("data")} --key raw/photos/_SUCCESS
then `python pipeline.py --approve PACKAGE` deploys what was registered."""


def _pages(stage: Stage) -> str:
    """Return the address of the pages."""
    found = stage.client("cloudformation").describe_stacks(StackName=f"{stage.prefix}-api")
    outputs = {o["OutputKey"]: str(o["OutputValue"]) for o in found["Stacks"][0]["Outputs"]}
    return outputs["Address"]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
