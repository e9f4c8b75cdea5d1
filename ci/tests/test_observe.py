"""Alarms look at metrics that exist, rules catch the real events, nothing acts by itself."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import EventPattern

from ci.problems import REPOSITORY
from ci.templates import load_template, substituted, walk
from components.inference.collector import Collector
from components.inference.collector import Settings as CollectorSettings
from components.inference.metrics import MetricsWindow
from components.inference.tests.telemetry_factories import a_request, an_answer
from components.retrain.handler import read_wakes

TEMPLATE = load_template(REPOSITORY / "ci/stacks/observe.yaml")
RESOURCES = TEMPLATE["Resources"]
WORDS = {
    "Project": "visionloop",
    "Stage": "dev",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
}
ALARMS = {n: r["Properties"] for n, r in RESOURCES.items() if r["Type"] == "AWS::CloudWatch::Alarm"}
PIPELINE = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/visionloop-dev"


def _plain(value: Any) -> Any:
    """Return a value with its references put in, as CloudFormation would."""
    if isinstance(value, dict):
        if "Fn::Sub" in value or "Ref" in value:
            return substituted(value, WORDS)
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _catches(rule: str, event: dict[str, Any]) -> bool:
    pattern = json.dumps(_plain(RESOURCES[rule]["Properties"]["EventPattern"]))
    matched: bool = EventPattern.load(pattern).matches_event(event)
    return matched


def _emitted(tmp_path: Path) -> set[tuple[str, frozenset[str]]]:
    """Return metric and names of its dimensions, as the endpoint's own code writes them."""
    window = MetricsWindow({"EndpointName": "e", "VariantName": "v", "ModelVersion": "7"})
    window.add_request(a_request())
    window.add_answer(an_answer())
    (tmp_path / "bundle.json").write_text('{"classes": ["a", "b"]}')
    collector = Collector(
        CollectorSettings(
            socket=tmp_path / "s",
            state=tmp_path,
            spool=tmp_path,
            bundle=tmp_path,
            sink="",
            endpoint_name="e",
            variant_name="v",
            model_version="7",
            metrics_interval_s=60,
            drift_interval_s=60,
            log_part_s=60,
            log_share=1,
            review_per_day=1,
            batch_s=0,
        )
    )
    result = {
        "features": [{"name": "component 1", "p_value": 0.1, "distance": 0.2}],
        "classes": [{"label": "a", "reference_share": 0.1, "window_share": 0.2}],
        **{"is_drift": True, "p_value": 0.1, "threshold": 0.01, "window": 100},
    }
    try:
        lines = [*window.lines(time.time()), collector._drift_line(result, time.time())]
    finally:
        collector.close()
    return {
        (metric["Name"], frozenset(names))
        for line in lines
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
        for names in directive["Dimensions"]
    }


def test_alarms_on_our_metrics_look_at_what_the_endpoint_writes(tmp_path: Path) -> None:
    emitted = _emitted(tmp_path)
    ours = [alarm for alarm in ALARMS.values() if alarm["Namespace"] == "visionloop"]
    assert {alarm["MetricName"] for alarm in ours} == {"IsDrift", "DriftPValue", "Confidence"}
    for alarm in ours:
        names = frozenset(dimension["Name"] for dimension in alarm["Dimensions"])
        assert (alarm["MetricName"], names) in emitted


def test_the_dashboard_shows_metrics_that_the_endpoint_writes(tmp_path: Path) -> None:
    emitted = {name for name, _ in _emitted(tmp_path)}
    widgets = json.dumps(_dashboard()["widgets"])
    shown = set(re.findall(r'\["visionloop", "(\w+)"', widgets))
    assert shown == {"IsDrift", "DriftPValue", "Confidence"}
    assert shown <= emitted
    assert 'MetricName=\\"Predictions\\"' in widgets
    assert "Predictions" in emitted


def _dashboard() -> dict[str, Any]:
    text = substituted(RESOURCES["Dashboard"]["Properties"]["DashboardBody"], WORDS)
    dashboard: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)\.Arn\}", r"\1", text))
    return dashboard


def test_the_dashboard_is_json_and_shows_every_alarm() -> None:
    assert set(_dashboard()["widgets"][0]["properties"]["alarms"]) == set(ALARMS)


@pytest.mark.parametrize("thing", ["endpoint-5xx", "endpoint-latency", "predict-errors"])
def test_alarms_that_roll_a_deployment_back_have_their_agreed_names(thing: str) -> None:
    assert f"visionloop-dev-{thing}" in {_plain(a["AlarmName"]) for a in ALARMS.values()}


def test_every_threshold_is_a_parameter_with_a_default_and_a_reason() -> None:
    numbers = {n: p for n, p in TEMPLATE["Parameters"].items() if p["Type"] == "Number"}
    for name, parameter in numbers.items():
        assert "Default" in parameter, name
        assert len(parameter["Description"]) > 60, f"{name} says no reason"
    thresholds = {n: a["Threshold"] for n, a in ALARMS.items() if n != "UndeliveredAlarm"}
    assert all(threshold["Ref"] in numbers for threshold in thresholds.values())
    places = [RESOURCES, TEMPLATE["Conditions"]]
    used = {each["Ref"] for each in walk(places) if "Ref" in each}
    used |= set(re.findall(r"\$\{(\w+)\}", json.dumps(RESOURCES)))
    assert set(TEMPLATE["Parameters"]) <= used


def test_an_alarm_acts_on_a_change_of_state_by_a_notice_alone() -> None:
    for alarm in ALARMS.values():
        assert alarm["AlarmActions"] == [{"Ref": "NoticesArn"}]
        assert alarm.get("OKActions", [{"Ref": "NoticesArn"}]) == [{"Ref": "NoticesArn"}]
        assert alarm["TreatMissingData"] in ("ignore", "notBreaching")


def _alarm_event(name: str, state: str) -> dict[str, Any]:
    """CloudWatch's documented sample, shortened."""
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "123456789012",
        "time": "2019-10-02T17:04:40Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"],
        "detail": {
            "alarmName": name,
            "configuration": {"description": "", "metrics": []},
            "previousState": {"value": "OK", "timestamp": "2019-10-02T17:03:40.310+0000"},
            "state": {"value": state, "reason": "", "timestamp": "2019-10-02T17:04:40.989+0000"},
        },
    }


@pytest.mark.parametrize(
    ("name", "state", "is_caught"),
    [
        ("visionloop-dev-drift-share", "ALARM", True),
        ("visionloop-dev-drift-p-value", "ALARM", True),
        ("visionloop-dev-drift-share", "OK", False),
        ("visionloop-dev-drift-share", "INSUFFICIENT_DATA", False),
        ("visionloop-dev-low-confidence", "ALARM", False),
        ("visionloop-dev2-drift-share", "ALARM", False),
    ],
)
def test_only_a_drift_alarm_of_ours_that_begins_to_ring_wakes_retrain(
    name: str, state: str, is_caught: bool
) -> None:
    assert _catches("DriftRings", _alarm_event(name, state)) is is_caught


def test_what_retrain_is_told_is_a_constant_that_it_knows() -> None:
    (target,) = RESOURCES["DriftRings"]["Properties"]["Targets"]
    assert read_wakes({"Records": [{"body": target["Input"]}]}) == {"drift"}
    assert _plain(target["Arn"]).endswith(":visionloop-dev-retrain.fifo")
    assert target["SqsParameters"] == {"MessageGroupId": "retrain"}


def _pipeline_event(status: str, arn: str = PIPELINE, **detail: str) -> dict[str, Any]:
    """SageMaker's documented sample, shortened."""
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73kd93ir",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2021-03-15T16:10:11Z",
        "region": "us-east-1",
        "resources": [arn, f"{arn}/execution/p4jn9xou8a8s"],
        "detail": {
            "currentPipelineExecutionStatus": status,
            "previousPipelineExecutionStatus": "Executing",
            "executionStartTime": "2021-03-15T16:03:13Z",
            "executionEndTime": "2021-03-15T16:10:10Z",
            "pipelineArn": arn,
            "pipelineExecutionArn": f"{arn}/execution/p4jn9xou8a8s",
            **detail,
        },
    }


@pytest.mark.parametrize(
    ("event", "is_caught"),
    [
        (_pipeline_event("Failed"), True),
        (_pipeline_event("Failed", more="of tomorrow"), True),
        (_pipeline_event("Succeeded"), False),
        (_pipeline_event("Executing"), False),
        (_pipeline_event("Stopped"), False),
        (_pipeline_event("Failed", f"{PIPELINE}2"), False),
        (_alarm_event("visionloop-dev-drift-share", "ALARM"), False),
    ],
)
def test_a_failed_run_of_our_pipeline_is_noticed(event: dict[str, Any], is_caught: bool) -> None:
    assert _catches("PipelineFailed", event) is is_caught


def test_patterns_use_no_operator_that_the_matcher_could_misread() -> None:
    """moto's matcher lets unknown operators through: here are plain values alone."""
    for rule in ("DriftRings", "PipelineFailed"):
        pattern = _plain(RESOURCES[rule]["Properties"]["EventPattern"])
        leaves = [v for each in walk(pattern) for v in each.values() if isinstance(v, list)]
        assert leaves
        assert all(isinstance(value, str) for leaf in leaves for value in leaf)


def test_a_notice_of_a_failed_run_names_paths_that_the_event_has() -> None:
    (target,) = RESOURCES["PipelineFailed"]["Properties"]["Targets"]
    transformer = target["InputTransformer"]
    for path in transformer["InputPathsMap"].values():
        found: Any = _pipeline_event("Failed")
        for name in path.removeprefix("$.").split("."):
            found = found[name]
        assert found
    assert set(re.findall(r"<(\w+)>", transformer["InputTemplate"])) == set(
        transformer["InputPathsMap"]
    )


def test_the_budget_tells_before_and_after_by_the_topic() -> None:
    notices = RESOURCES["Budget"]["Properties"]["NotificationsWithSubscribers"]
    kinds = {n["Notification"]["NotificationType"]: n["Notification"]["Threshold"] for n in notices}
    assert kinds == {"ACTUAL": 80, "FORECASTED": 100}
    for notice in notices:
        assert notice["Subscribers"] == [
            {"SubscriptionType": "SNS", "Address": {"Ref": "NoticesArn"}}
        ]
