"""What operators tune: typed, in range, and never worse than the last good value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from shared.component.operator import OPERATOR_PARAMETERS, ParameterStore, read_operator

PREFIX = "/visionloop/dev/operator"
DOCUMENTED = {
    "Enable-Automatic-Training": True,
    "Minimum-Untrained-Images": 10,
    "Minimum-F1-Score": 0.8,
    "Minimum-Inference-Units": 1,
    "Minimum-Label-Detection-Confidence": 70.0,
    "Enable-Human-Review": True,
    "Enable-Automatic-Human-Sampling": True,
    "Human-Sampling-Interval": 1000,
}


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ssm", "us-east-1")


def write(ssm: Any, name: str, *texts: str) -> None:
    for text in texts:
        ssm.put_parameter(Name=f"{PREFIX}/{name}", Value=text, Type="String", Overwrite=True)


def test_defaults_are_the_documented_ones(ssm: Any) -> None:
    read = read_operator(ParameterStore(ssm, PREFIX))
    assert {name: read.values[name] for name in DOCUMENTED} == DOCUMENTED
    assert read.problems == ()


def test_every_parameter_has_a_default_within_its_limits_and_a_description() -> None:
    for port in OPERATOR_PARAMETERS.values():
        assert port.default is not None
        assert port.parse(str(port.default), "test") == port.default
        assert port.description.endswith(".")


def test_a_change_counts_at_the_next_reading(ssm: Any) -> None:
    store = ParameterStore(ssm, PREFIX)
    write(ssm, "Minimum-Untrained-Images", "25")
    assert read_operator(store).integer("Minimum-Untrained-Images") == 25
    write(ssm, "Minimum-Untrained-Images", "3")
    assert read_operator(store).integer("Minimum-Untrained-Images") == 3


@pytest.mark.parametrize("bad", ["many", "-3", "0", "1e9", "nan", "4.5"])
def test_a_bad_value_is_reported_and_the_last_good_one_stays(ssm: Any, bad: str) -> None:
    write(ssm, "Minimum-Untrained-Images", "7", bad)
    read = read_operator(ParameterStore(ssm, PREFIX))
    assert read.integer("Minimum-Untrained-Images") == 7
    (problem,) = read.problems
    assert "Minimum-Untrained-Images" in problem
    assert "the last good value 7 stays in force" in problem


def test_the_last_good_value_is_found_behind_many_bad_ones(ssm: Any) -> None:
    write(ssm, "Minimum-F1-Score", "0.9", *["high"] * 60)
    assert read_operator(ParameterStore(ssm, PREFIX)).number("Minimum-F1-Score") == 0.9


def test_without_any_good_value_the_default_counts(ssm: Any) -> None:
    write(ssm, "Minimum-F1-Score", "80", "high")
    read = read_operator(ParameterStore(ssm, PREFIX))
    assert read.number("Minimum-F1-Score") == 0.8
    assert "the default 0.8 counts" in read.problems[0]


def test_a_misspelt_name_is_reported(ssm: Any) -> None:
    write(ssm, "Minimum-F1", "0.9")
    (problem,) = read_operator(ParameterStore(ssm, PREFIX)).problems
    assert "no parameter Minimum-F1" in problem


def test_another_stage_has_its_own(ssm: Any) -> None:
    write(ssm, "Minimum-F1-Score", "0.9")
    other = read_operator(ParameterStore(ssm, "/visionloop/prod/operator"))
    assert other.number("Minimum-F1-Score") == 0.8
