"""What operators say reaches the workers, and nothing that goes wrong stops either."""

from __future__ import annotations

import logging

import boto3
import pytest
from moto import mock_aws

from components.inference.review_rules import (
    OperatorWatch,
    ReviewRules,
    RulesFile,
    rules_path,
)
from shared.component.operator import ParameterStore

PATH = "/visionloop/dev/operator"


@pytest.fixture
def ssm(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ssm", "us-east-1")


def tune(ssm, **values):
    for name, value in values.items():
        key = f"{PATH}/{name.replace('_', '-')}"
        ssm.put_parameter(Name=key, Value=value, Type="String", Overwrite=True)


def reader(path, default=None):
    ticks = iter(range(0, 10_000, 10))  # later than the last look each time
    return RulesFile(path, default or ReviewRules(55.0, 7), clock=lambda: next(ticks))


def test_without_operators_the_components_parameters_count(tmp_path):
    assert reader(rules_path(tmp_path))() == ReviewRules(55.0, 7)


def test_a_change_reaches_the_worker(ssm, tmp_path):
    watch = OperatorWatch(ParameterStore(ssm, PATH), rules_path(tmp_path))
    rules = reader(rules_path(tmp_path))
    watch.look()
    assert rules() == ReviewRules(70.0, 1000, 0.0, is_on=True)
    tune(
        ssm,
        Minimum_Label_Detection_Confidence="82.5",
        Human_Sampling_Interval="50",
        Automatic_Human_Sampling_Frequency="2",
    )
    watch.look()
    assert rules() == ReviewRules(82.5, 50, 120.0, is_on=True)
    tune(ssm, Enable_Automatic_Human_Sampling="false", Enable_Human_Review="false")
    watch.look()
    assert rules() == ReviewRules(82.5, 0, 120.0, is_on=False)


def test_a_bad_value_leaves_the_last_good_one(ssm, tmp_path):
    watch = OperatorWatch(ParameterStore(ssm, PATH), rules_path(tmp_path))
    tune(ssm, Minimum_Label_Detection_Confidence="60")
    tune(ssm, Minimum_Label_Detection_Confidence="160")
    watch.look()
    assert reader(rules_path(tmp_path))().min_confidence == 60.0


def test_an_aws_that_refuses_is_said_once_and_the_rules_stand(ssm, tmp_path, caplog):
    watch = OperatorWatch(ParameterStore(ssm, PATH), rules_path(tmp_path))
    watch.look()
    before = rules_path(tmp_path).read_text()
    refusing = boto3.client("ssm", "us-east-1")

    def refuse(**_):
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath")

    refusing.meta.events.register("before-parameter-build.ssm.GetParametersByPath", refuse)
    watch._history = ParameterStore(refusing, PATH)
    with caplog.at_level(logging.WARNING):
        watch.look()
        watch.look()
    assert rules_path(tmp_path).read_text() == before
    assert caplog.text.count("cannot be read") == 1


def test_half_a_file_leaves_the_last_rules(tmp_path):
    rules = reader(rules_path(tmp_path))
    rules_path(tmp_path).write_text('{"min_confidence": 10.0}')
    assert rules().min_confidence == 10.0
    rules_path(tmp_path).write_text('{"min_conf')
    assert rules().min_confidence == 10.0


def test_the_thread_asks_again_and_again_until_it_is_closed(ssm, tmp_path):
    asked = []

    class Asked(ParameterStore):
        def names(self):
            asked.append(1)
            if len(asked) == 3:
                watch.close()
            return set()

    watch = OperatorWatch(Asked(ssm, PATH), rules_path(tmp_path), poll_s=0.01)
    watch.start()
    watch._thread.join(10)
    assert not watch._thread.is_alive()
    assert len(asked) == 3
