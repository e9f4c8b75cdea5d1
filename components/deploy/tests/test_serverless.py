"""A serverless endpoint: the same road, a swap of configs instead of a canary."""

from __future__ import annotations

import pytest

from components.deploy.errors import SmokeTestError
from components.deploy.tests.drive import act, deploy, plan
from components.deploy.tests.stage import BASE, Stage, broken


def test_versions_are_staged_then_swapped(serverless: Stage) -> None:
    deploy(serverless, serverless.register(1))
    job = deploy(serverless, serverless.register(2))
    fake = serverless.aws.sagemaker
    (update,) = fake.asked("UpdateEndpoint")
    assert "DeploymentConfig" not in update, "guardrails leave serverless endpoints out"
    name = f"{BASE}-v2-{job['suffix']}"
    assert fake.endpoints[BASE]["EndpointConfigName"] == name
    (variant,) = fake.configs[name]["ProductionVariants"]
    assert variant == {
        "VariantName": "main",
        "ModelName": name,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
    }
    assert fake.scalable == {}
    assert set(fake.endpoints) == {BASE}


def test_a_wrong_answer_leaves_the_old_version_alone(serverless: Stage) -> None:
    deploy(serverless, serverless.register(1))
    job = plan(serverless, serverless.register(2, broken))["job"]
    act(serverless, "stage", job)
    with pytest.raises(SmokeTestError):
        act(serverless, "prove_staged", job)
    act(serverless, "roll_back", job)
    fake = serverless.aws.sagemaker
    assert fake.endpoints[BASE]["EndpointConfigName"] == job["previous"]
    assert fake.asked("UpdateEndpoint") == []


def test_it_needs_no_alarm(serverless: Stage) -> None:
    client = serverless.clients["cloudwatch"]
    client.delete_alarms(
        AlarmNames=[a["AlarmName"] for a in client.describe_alarms()["MetricAlarms"]]
    )
    assert plan(serverless, serverless.register(1))["verdict"] == "deploy"


def test_a_changed_parameter_scales_nothing(serverless: Stage) -> None:
    deploy(serverless, serverless.register(1))
    said = serverless.ask({"detail-type": "Parameter Store Change"})
    assert said == {"scaled": "up to 5 invocations at once, down to none"}
    assert serverless.notices == []
