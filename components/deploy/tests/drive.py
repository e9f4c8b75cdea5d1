"""A deployment action by action, in deploy.yaml's order, without Step Functions.

The real order is tested by running the state machine: tests/e2e/test_deployment.py.
"""

from __future__ import annotations

from typing import Any

from components.deploy import errors
from components.deploy.tests.fake_sagemaker import Json
from components.deploy.tests.stage import Stage

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:visionloop-dev-deploy:one"


def plan(stage: Stage, arn: str, execution: str = EXECUTION) -> Json:
    return stage.ask({"action": "plan", "package": arn, "execution": execution})


def step(stage: Stage, action: str, job: Json, execution: str = EXECUTION, **more: Any) -> Json:
    """Ask for an action once.

    Raises:
        DeployError: the one that the answer names.
    """
    said = stage.ask({"action": action, "job": job, "execution": execution, **more})
    if said["status"] == "failed":
        raise getattr(errors, said["error"]["Error"])(said["error"]["Cause"])
    return said


def act(stage: Stage, action: str, job: Json, execution: str = EXECUTION) -> Json:
    """Ask for an action until it is ready, a minute a time."""
    for _ in range(50):
        said = step(stage, action, job, execution)
        if said["status"] == "ready":
            return said
        stage.now += 60
    raise AssertionError(f"{action} is never done")


def deploy(stage: Stage, arn: str, execution: str = EXECUTION) -> Json:
    """Do the whole of it and return the job."""
    planned = plan(stage, arn, execution)
    assert planned["verdict"] == "deploy", planned
    job: Json = planned["job"]
    for action in ("stage", "prove_staged", "promote", "watch", "prove_live", "finish"):
        act(stage, action, job, execution)
    return job
