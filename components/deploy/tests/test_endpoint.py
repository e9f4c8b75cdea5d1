"""A real-time endpoint: staging, canary, roll back, scaling, clean-up."""

from __future__ import annotations

import pytest

from components.deploy.errors import (
    PromotionError,
    RollBackError,
    SmokeTestError,
    StagingError,
    WithdrawnError,
)
from components.deploy.tests.drive import EXECUTION, act, deploy, plan, step
from components.deploy.tests.fake_sagemaker import Json
from components.deploy.tests.stage import ALARMS, BASE, Stage, broken, set_parameter, sound


def live(stage: Stage) -> Json:
    """Return the live endpoint as the fake holds it."""
    return stage.aws.sagemaker.endpoints[BASE]


def test_the_first_version_is_tested_apart_then_served_and_scaled(endpoint: Stage) -> None:
    job = deploy(endpoint, endpoint.register(1))
    fake = endpoint.aws.sagemaker
    name = f"{BASE}-v1-{job['suffix']}"
    assert set(fake.endpoints) == {BASE}, "staging is gone"
    assert (set(fake.models), set(fake.configs)) == ({name}, {name})
    staging, served = fake.asked("CreateEndpoint")
    assert staging["EndpointName"] == f"{BASE}-staging"
    assert served["EndpointConfigName"] == name
    model = fake.models[name]["PrimaryContainer"]
    assert model["ModelPackageName"].endswith("/1")
    assert model["Environment"] == {
        "VISIONLOOP_ENDPOINT_NAME": BASE,
        "VISIONLOOP_VARIANT_NAME": "main",
        "VISIONLOOP_MODEL_VERSION": "1",
        "VISIONLOOP_SINK": endpoint.settings.sink,
        "VISIONLOOP_OPERATOR_PATH": "/visionloop/dev/operator",
    }
    bounds = fake.scalable[f"endpoint/{BASE}/variant/main"]
    assert (bounds["MinCapacity"], bounds["MaxCapacity"]) == (1, 4)
    (policy,) = fake.policies.values()
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 600


def test_everything_is_tagged_with_stage_and_version(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(3))
    for action in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        for given in endpoint.aws.sagemaker.asked(action):
            tags = {tag["Key"]: tag["Value"] for tag in given["Tags"]}
            assert tags == {
                "project": "visionloop",
                "stage": "dev",
                "stack": "deploy",
                "managed-by": "visionloop",
                "package-version": "3",
            }


def test_an_update_sends_a_quarter_first_and_lets_alarms_take_it_back(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    deploy(endpoint, endpoint.register(2))
    (update,) = endpoint.aws.sagemaker.asked("UpdateEndpoint")
    config = update["DeploymentConfig"]
    routing = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "CANARY"
    assert routing["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 25}
    alarms = {a["AlarmName"] for a in config["AutoRollbackConfiguration"]["Alarms"]}
    assert alarms == set(ALARMS[:2])
    (variant,) = endpoint.aws.sagemaker.configs[update["EndpointConfigName"]]["ProductionVariants"]
    assert variant["VariantName"] == "main"
    assert variant["InitialInstanceCount"] == 2, "a canary is at most half of the fleet"


def test_only_this_version_and_the_last_are_kept(endpoint: Stage) -> None:
    for version in (1, 2, 3):
        job = deploy(endpoint, endpoint.register(version))
    kept = {f"{BASE}-v3-{job['suffix']}", job["previous"]}
    assert job["previous_version"] == 2
    assert set(endpoint.aws.sagemaker.configs) == kept == set(endpoint.aws.sagemaker.models)


def test_a_neighbours_configs_and_models_stay(endpoint: Stage) -> None:
    fake = endpoint.aws.sagemaker
    neighbour = f"{BASE}-blue-v1-00000000"
    fake.models[neighbour] = {"ModelName": neighbour}
    fake.configs[neighbour] = {"EndpointConfigName": neighbour}
    deploy(endpoint, endpoint.register(1))
    assert neighbour in fake.models
    assert neighbour in fake.configs


def test_a_wrong_answer_before_traffic_leaves_the_old_version_alone(endpoint: Stage) -> None:
    old = deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2, broken))["job"]
    act(endpoint, "stage", job)
    said = r"golden image 0\.png: expected 'b' b 0\.7000, .* got 'b' b 0\.3333"
    with pytest.raises(SmokeTestError, match=said):
        act(endpoint, "prove_staged", job)
    act(endpoint, "roll_back", job)
    fake = endpoint.aws.sagemaker
    assert live(endpoint)["EndpointConfigName"] == f"{BASE}-v1-{old['suffix']}"
    assert fake.asked("UpdateEndpoint") == []
    assert set(fake.endpoints) == {BASE}
    assert set(fake.models) == set(fake.configs) == {f"{BASE}-v1-{old['suffix']}"}


def test_what_clients_would_get_wrong_is_taken_back(endpoint: Stage) -> None:
    old = deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2))["job"]
    for action in ("stage", "prove_staged", "promote", "watch"):
        act(endpoint, action, job)
    endpoint.aws.sagemaker.brains[job["model_data"]] = broken
    with pytest.raises(SmokeTestError):
        act(endpoint, "prove_live", job)
    act(endpoint, "roll_back", job)
    assert live(endpoint)["EndpointConfigName"] == f"{BASE}-v1-{old['suffix']}"
    assert live(endpoint)["EndpointStatus"] == "InService"


def test_a_first_version_that_fails_leaves_no_endpoint(endpoint: Stage) -> None:
    job = plan(endpoint, endpoint.register(1))["job"]
    for action in ("stage", "prove_staged", "promote", "watch", "roll_back"):
        act(endpoint, action, job)
    fake = endpoint.aws.sagemaker
    assert (fake.endpoints, fake.configs, fake.models) == ({}, {}, {})


def test_aws_taking_the_version_back_is_noticed(endpoint: Stage) -> None:
    old = deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2))["job"]
    endpoint.aws.sagemaker.update_ends = "rolled_back"
    for action in ("stage", "prove_staged", "promote"):
        act(endpoint, action, job)
    with pytest.raises(PromotionError, match="went into ALARM"):
        act(endpoint, "watch", job)
    act(endpoint, "roll_back", job)
    assert live(endpoint)["EndpointConfigName"] == f"{BASE}-v1-{old['suffix']}"


def test_a_roll_back_that_aws_cannot_do_calls_for_a_person(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2))["job"]
    endpoint.aws.sagemaker.update_ends = "stuck"
    for action in ("stage", "prove_staged", "promote"):
        act(endpoint, action, job)
    with pytest.raises(PromotionError, match="UpdateRollbackFailed"):
        act(endpoint, "watch", job)
    with pytest.raises(RollBackError, match="by hand: aws sagemaker update-endpoint"):
        act(endpoint, "roll_back", job)
    said = plan(endpoint, endpoint.register(3), f"{EXECUTION}-next")
    assert (said["verdict"], said["job"]) == ("tell", None), "no new version onto a broken endpoint"


def test_a_staging_endpoint_that_does_not_start_says_why(endpoint: Stage) -> None:
    endpoint.aws.sagemaker.creation_fails = "The primary container did not pass the ping"
    job = plan(endpoint, endpoint.register(1))["job"]
    with pytest.raises(StagingError, match=r"did not pass the ping.*log group"):
        act(endpoint, "stage", job)


def test_a_staging_endpoint_left_by_a_crash_is_replaced(endpoint: Stage) -> None:
    crashed = plan(endpoint, endpoint.register(1))["job"]
    act(endpoint, "stage", crashed)
    other = f"{EXECUTION}-two"
    job = plan(endpoint, endpoint.register(2), other)["job"]
    act(endpoint, "stage", job, other)
    staging = endpoint.aws.sagemaker.endpoints[f"{BASE}-staging"]
    assert staging["EndpointConfigName"] == f"{BASE}-staging-v2-{job['suffix']}"


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
@pytest.mark.parametrize("action", ["promote", "prove_live"])
def test_a_package_withdrawn_meanwhile_gets_no_traffic(
    endpoint: Stage, status: str, action: str
) -> None:
    job = plan(endpoint, endpoint.register(1))["job"]
    steps = ["stage", "prove_staged", "promote", "watch", "prove_live"]
    for before in steps[: steps.index(action)]:
        act(endpoint, before, job)
    endpoint.set_status(1, status)
    with pytest.raises(WithdrawnError, match=f"is {status}; approve it again"):
        act(endpoint, action, job)


def test_every_action_can_be_repeated(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2))["job"]
    again = plan(endpoint, job["package"])["job"]
    assert again == job
    for action in ("stage", "prove_staged", "promote", "promote", "watch", "promote", "finish"):
        act(endpoint, action, job)
        act(endpoint, action, job) if action != "promote" else None
    assert len(endpoint.aws.sagemaker.asked("UpdateEndpoint")) == 1
    for _ in range(2):
        act(endpoint, "roll_back", job)
    assert live(endpoint)["EndpointConfigName"] == job["previous"]


def test_an_endpoint_that_is_being_scaled_is_updated_afterwards(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    job = plan(endpoint, endpoint.register(2))["job"]
    act(endpoint, "stage", job)
    live(endpoint).update(EndpointStatus="Updating", _looks=1, _next="InService")
    assert step(endpoint, "promote", job) == {"status": "pending"}
    assert endpoint.aws.sagemaker.asked("UpdateEndpoint") == []
    act(endpoint, "promote", job)
    act(endpoint, "watch", job)
    assert live(endpoint)["EndpointConfigName"] == f"{BASE}-v2-{job['suffix']}"


def test_the_operators_least_counts_without_a_deployment(endpoint: Stage) -> None:
    deploy(endpoint, endpoint.register(1))
    set_parameter(endpoint, "Minimum-Inference-Units", "3")
    event = {"detail-type": "Parameter Store Change", "detail": {"operation": "Update"}}
    assert endpoint.ask(event) == {"scaled": "3 to 4 instances"}
    assert endpoint.aws.sagemaker.scalable[f"endpoint/{BASE}/variant/main"]["MinCapacity"] == 3
    set_parameter(endpoint, "Minimum-Inference-Units", "9")
    assert "9 were asked for" in endpoint.ask(event)["scaled"]
    assert endpoint.aws.sagemaker.scalable[f"endpoint/{BASE}/variant/main"]["MinCapacity"] == 4
    assert "scaling was changed" in endpoint.notices[-1][0]


def test_nothing_is_scaled_where_nothing_serves(endpoint: Stage) -> None:
    assert "nothing serves" in endpoint.ask({"detail-type": "Parameter Store Change"})["scaled"]
    assert endpoint.aws.sagemaker.scalable == {}
    assert endpoint.notices == []


def test_a_first_endpoint_has_the_operators_least_number_of_instances(endpoint: Stage) -> None:
    set_parameter(endpoint, "Minimum-Inference-Units", "2")
    job = deploy(endpoint, endpoint.register(1))
    config = endpoint.aws.sagemaker.configs[f"{BASE}-v1-{job['suffix']}"]
    assert config["ProductionVariants"][0]["InitialInstanceCount"] == 2


def test_scaling_is_let_go_where_the_instance_type_changes(endpoint: Stage) -> None:
    job = deploy(endpoint, endpoint.register(1))
    fake = endpoint.aws.sagemaker
    fake.configs[f"{BASE}-v1-{job['suffix']}"]["ProductionVariants"][0]["InstanceType"] = "ml.c5"
    deploy(endpoint, endpoint.register(2))
    assert len(fake.asked("DeregisterScalableTarget")) == 1
    assert fake.scalable, "and taken up again"


def test_an_endpoint_of_somebody_else_is_left_alone(endpoint: Stage) -> None:
    fake = endpoint.aws.sagemaker
    fake.models["m"] = {"ModelName": "m"}
    fake.configs["theirs"] = {"ProductionVariants": [{"ModelName": "m"}]}
    fake.endpoints[BASE] = {
        "EndpointName": BASE,
        "EndpointConfigName": "theirs",
        "EndpointStatus": "InService",
    }
    said = plan(endpoint, endpoint.register(1, sound))
    assert said["verdict"] == "tell"
    assert "none of ours" in said["reason"]
