"""`python -m ci deploy` as an operator runs it, against the stage that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from ci.problems import REPOSITORY
from ci.templates import load_templates
from tests.e2e.conftest import GIVEN, UNKNOWN_TYPES, Deployed

pytestmark = pytest.mark.e2e


def deploy(stage: Deployed, *flags: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, str(stage.stage.root), *flags],
        env=environ | stage.emulators.environ(),
        input=answer,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# The command itself, on the templates that the emulator can take.
COMMAND = """
import sys
from pathlib import Path
from ci.deploy import main
from shared.component.errors import VisionloopError
try:
    sys.exit(main(sys.argv[2:], Path(sys.argv[1])))
except VisionloopError as err:
    sys.exit(f"error: {err}")
"""


def test_only_known_gaps_are_left_out() -> None:
    used = {
        body["Type"]
        for template in load_templates(REPOSITORY).values()
        for body in template["Resources"].values()
    }
    assert used >= UNKNOWN_TYPES, "a type is no longer used: take it off the list"


def test_the_first_deployment_says_what_it_does(stage: Deployed) -> None:
    names = [f"visionloop-dev-{name}: done" for name in stage.stage.stacks]
    assert [line for line in stage.said if line.endswith(": done")] == names
    assert any("uploaded functions/retrain-" in line for line in stage.said)


def test_a_second_deployment_has_nothing_to_do(stage: Deployed) -> None:
    child = deploy(stage, "--dry-run")
    assert child.returncode == 0, child.stderr
    assert child.stdout.count(": as it is") == len(stage.stage.stacks)


def test_a_change_is_shown_and_waits_for_a_yes(stage: Deployed) -> None:
    refused = deploy(stage, "--set", "QuietS=3", answer="no\n")
    assert refused.returncode == 1
    assert "change   Function" in refused.stdout
    assert "nothing was changed" in refused.stdout
    assert quiet_s(stage) == GIVEN["QuietS"]


def test_an_update_keeps_what_operators_have_tuned(stage: Deployed) -> None:
    ssm = stage.client("ssm")
    path = "/visionloop/dev/operator/Minimum-Untrained-Images"
    ssm.put_parameter(Name=path, Value="12", Overwrite=True)
    changed = deploy(stage, "--yes", "--set", "QuietS=1")
    assert changed.returncode == 0, changed.stderr
    assert "visionloop-dev-triggers: done" in changed.stdout
    assert ssm.get_parameter(Name=path)["Parameter"]["Value"] == "12"
    assert quiet_s(stage) == "1"
    back = deploy(stage, "--yes", "--set", f"QuietS={GIVEN['QuietS']}")
    assert back.returncode == 0, back.stderr
    ssm.put_parameter(Name=path, Value="10", Overwrite=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "QuietS"], "--set takes NAME=VALUE"),
        (["--set", "Quiet=3"], "no template has a parameter 'Quiet'"),
        (["--stage", "Dev"], "'Dev' is no name of ours"),
    ],
)
def test_wrong_use_is_said_in_one_line(stage: Deployed, flags: list[str], message: str) -> None:
    child = deploy(stage, *flags)
    assert child.returncode != 0
    assert message in child.stderr
    assert "Traceback" not in child.stderr


def quiet_s(stage: Deployed) -> Any:
    function = stage.client("lambda").get_function_configuration(
        FunctionName="visionloop-dev-retrain"
    )
    return function["Environment"]["Variables"]["VISIONLOOP_QUIET_S"]
