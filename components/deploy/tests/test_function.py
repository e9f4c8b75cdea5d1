"""A Lambda function: digest, version, alias weights, and back."""

from __future__ import annotations

import pytest

from components.deploy.errors import PromotionError, RollBackError, SmokeTestError, StagingError
from components.deploy.tests.drive import EXECUTION, act, deploy, plan, step
from components.deploy.tests.fake_sagemaker import Json
from components.deploy.tests.stage import ALARMS, BASE, IMAGE, Stage, broken

PENDING = {"status": "pending"}


def alias(stage: Stage) -> Json:
    return stage.aws.functions.aliases["live"]


def weights(stage: Stage) -> Json:
    found: Json = (alias(stage).get("RoutingConfig") or {}).get("AdditionalVersionWeights", {})
    return found


def test_the_first_version_makes_the_function_and_its_alias(function: Stage) -> None:
    job = deploy(function, function.register(1))
    fake = function.aws.functions
    assert alias(function)["FunctionVersion"] == "1"
    assert fake.versions["1"]["Description"] == f"{BASE}-v1-{job['suffix']}"
    assert fake.latest["ImageUri"] == IMAGE
    assert fake.latest["Tags"]["managed-by"] == "visionloop"
    assert fake.versions["1"]["Environment"]["Variables"] == {
        "VISIONLOOP_MODEL_URI": job["model_data"],
        "VISIONLOOP_MODEL_VERSION": "1",
        "VISIONLOOP_DEPLOYMENT": job["suffix"],
    }


def test_a_version_is_asked_before_it_gets_traffic(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    act(function, "stage", job)
    act(function, "prove_staged", job)
    assert function.aws.functions.invoked[-1] == "2"
    assert (alias(function)["FunctionVersion"], weights(function)) == ("1", {})


def test_a_tenth_of_the_traffic_comes_first_and_all_after_the_canary(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    for action in ("stage", "prove_staged", "promote"):
        act(function, action, job)
    begun = function.now
    assert (alias(function)["FunctionVersion"], weights(function)) == ("1", {"2": 0.1})
    function.now = begun + function.settings.canary_s - 1
    assert step(function, "watch", job) == PENDING
    assert weights(function) == {"2": 0.1}
    function.now = begun + function.settings.canary_s
    assert step(function, "watch", job) == {"status": "ready"}
    assert (alias(function)["FunctionVersion"], weights(function)) == ("2", {})


def test_a_second_attempt_does_not_begin_the_canary_anew(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    for action in ("stage", "prove_staged", "promote"):
        act(function, action, job)
    begun = alias(function)["Description"]
    function.now += 100
    step(function, "promote", job)
    assert alias(function)["Description"] == begun


def test_an_alarm_during_the_canary_brings_the_old_version_back(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    for action in ("stage", "prove_staged", "promote"):
        act(function, action, job)
    function.alarm(ALARMS[2], "ALARM")
    with pytest.raises(PromotionError, match=f"{ALARMS[2]} rings"):
        step(function, "watch", job)
    act(function, "roll_back", job)
    assert (alias(function)["FunctionVersion"], weights(function)) == ("1", {})
    assert set(function.aws.functions.versions) == {"1"}
    assert alias(function)["Description"] == "all"


def test_a_wrong_answer_leaves_the_old_version_alone(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2, broken))["job"]
    act(function, "stage", job)
    with pytest.raises(SmokeTestError, match="golden image"):
        act(function, "prove_staged", job)
    act(function, "roll_back", job)
    assert (alias(function)["FunctionVersion"], weights(function)) == ("1", {})


def test_a_first_version_that_fails_leaves_no_alias(function: Stage) -> None:
    job = plan(function, function.register(1))["job"]
    for action in ("stage", "prove_staged", "promote", "roll_back", "roll_back"):
        act(function, action, job)
    assert function.aws.functions.aliases == {}
    assert function.aws.functions.versions == {}


def test_a_version_that_runs_another_image_is_refused(function: Stage) -> None:
    function.aws.functions.resolves_to = ""
    job = plan(function, function.register(1))["job"]
    while not function.aws.functions.versions:
        step(function, "stage", job)
    function.aws.functions.resolves_to = IMAGE.replace("aaaa", "bbbb")
    with pytest.raises(StagingError, match=r"runs .*bbbb.* instead of .*aaaa"):
        step(function, "stage", job)


def test_a_function_that_cannot_be_updated_says_why(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    function.aws.functions.update_fails = "Lambda does not have permission to access the image"
    with pytest.raises(StagingError, match=r"permission to access the image.*repository policy"):
        act(function, "stage", job)


def test_a_new_image_is_brought_with_the_version(function: Stage) -> None:
    deploy(function, function.register(1))
    function.aws.functions.latest["ImageUri"] = "old@sha256:" + 64 * "0"
    job = deploy(function, function.register(2))
    assert function.aws.functions.latest["ImageUri"] == IMAGE
    assert job["previous"] == "1"


def test_a_version_is_published_anew_after_it_was_taken_back(function: Stage) -> None:
    arn = function.register(1)
    deploy(function, arn)
    function.register(2)
    function.set_status(1, "Rejected")
    deploy(function, arn.replace("/1", "/2"), EXECUTION + "2")
    function.set_status(1, "Approved")
    function.set_status(2, "Rejected")
    job = deploy(function, arn.replace("/1", "/2"), EXECUTION + "3")
    assert (job["version"], job["previous_version"]) == (1, 2)
    assert alias(function)["FunctionVersion"] == "3"


def test_only_this_version_and_the_last_are_kept(function: Stage) -> None:
    for version in (1, 2, 3):
        deploy(function, function.register(version))
    assert set(function.aws.functions.versions) == {"2", "3"}


def test_a_roll_back_that_does_not_hold_calls_for_a_person(function: Stage) -> None:
    deploy(function, function.register(1))
    job = plan(function, function.register(2))["job"]
    for action in ("stage", "prove_staged", "promote"):
        act(function, action, job)
    stuck = {"FunctionVersion": "2", "RoutingConfig": {}}
    function.aws.functions.on_alias = lambda told: told.update(stuck)
    with pytest.raises(RollBackError, match="names 2 instead of 1; set it by hand"):
        act(function, "roll_back", job)


def test_an_alias_of_somebody_else_is_left_alone(function: Stage) -> None:
    deploy(function, function.register(1))
    function.aws.functions.versions["1"]["Description"] = "by hand"
    said = plan(function, function.register(2))
    assert said["verdict"] == "tell"
    assert "none of ours" in said["reason"]


def test_without_its_alarm_nothing_is_deployed(function: Stage) -> None:
    function.clients["cloudwatch"].delete_alarms(AlarmNames=[ALARMS[2]])
    said = plan(function, function.register(1))
    assert (said["verdict"], said["job"]) == ("tell", None)
    assert ALARMS[2] in said["reason"]
