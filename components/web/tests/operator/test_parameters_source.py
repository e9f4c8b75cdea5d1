"""What operators tune, in Parameter Store: read as those who obey read it, and written checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from components.web.errors import Away, BadInput, Conflict, NotFound
from components.web.operator.parameters import ParameterSource, as_text
from components.web.tests.operator.aws import Fake, error
from shared.component.operator import OPERATOR_PARAMETERS


@pytest.fixture(scope="module")
def ssm() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("ssm", region_name="us-east-1")


@pytest.fixture
def source(ssm) -> ParameterSource:
    """Return a store of a test's own: a path that no other test has."""
    return ParameterSource(ssm, f"/visionloop/{uuid4().hex}/operator")


def write(source: ParameterSource, name: str, value: str) -> None:
    source.client.put_parameter(
        Name=f"{source.path}/{name}", Value=value, Type="String", Overwrite=True
    )


def written(source: ParameterSource) -> dict[str, str]:
    found = source.client.get_parameters_by_path(Path=source.path)["Parameters"]
    return {p["Name"].rpartition("/")[2]: p["Value"] for p in found}


def test_all_of_the_table_is_listed_with_defaults_while_nothing_is_written(source):
    found = source.list()
    assert [p.name for p in found.parameters] == list(OPERATOR_PARAMETERS)
    first = found.parameters[0]
    assert (first.value, first.written, first.version, first.changed) == ("true", None, 0, None)


def test_a_written_value_is_in_force_with_its_time(source):
    write(source, "Minimum-F1-Score", "0.9")
    found = source.get("Minimum-F1-Score")
    assert (found.value, found.version) == ("0.9", 1)
    assert found.changed is not None
    assert found.problem == ""


def test_a_bad_value_is_shown_with_the_one_that_counts(source):
    write(source, "Minimum-F1-Score", "0.9")
    write(source, "Minimum-F1-Score", "high")
    found = source.get("Minimum-F1-Score")
    assert (found.value, found.written) == ("0.9", "high")
    assert "last good value 0.9" in found.problem


def test_a_misspelt_name_is_told_and_not_shown(source):
    write(source, "Minimum-F2-Score", "1")
    assert "there is no parameter Minimum-F2-Score" in source.list().problems[0]
    with pytest.raises(NotFound):
        source.get("Minimum-F2-Score")


@pytest.mark.parametrize("name", ["../secret", "Minimum-F2-Score", "Password"])
def test_what_is_not_in_the_table_is_not_written(source, name):
    with pytest.raises(NotFound, match="no operator parameter"):
        source.put(name, "1")
    assert written(source) == {}


def test_a_change_is_written_as_text_and_gives_what_was_before(source):
    assert source.put("Minimum-F1-Score", "0.85", seen=0).value == "0.8"
    assert source.put("Enable-Drift-Retraining", True).value == "false"
    assert written(source) == {"Minimum-F1-Score": "0.85", "Enable-Drift-Retraining": "true"}


def test_a_change_of_what_somebody_else_changed_is_a_conflict(source):
    source.put("Minimum-F1-Score", "0.85")
    with pytest.raises(Conflict, match=r"is 0\.85 by now"):
        source.put("Minimum-F1-Score", "0.9", seen=0)


@pytest.mark.parametrize("value", ["2", "nan", "", True, "0,8"])
def test_a_value_that_is_none_is_refused(source, value):
    with pytest.raises(BadInput, match="Minimum-F1-Score"):
        source.put("Minimum-F1-Score", value)


def test_a_store_that_is_away_or_not_named_is_said_to_be():
    away = Fake("ssm", get_parameters_by_path=error("InternalServerError", "oh", "GetParameters"))
    with pytest.raises(Away, match="Parameter Store"):
        ParameterSource(away, "/p/s/operator").list()
    with pytest.raises(NotFound, match="--operator-path"):
        ParameterSource(away, "").list()


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (3, "3"), (0.5, "0.5"), (1e-7, "0.0000001"), (70.0, "70")]
)
def test_values_are_kept_as_the_stacks_patterns_take_them(value, text):
    assert as_text(value) == text
