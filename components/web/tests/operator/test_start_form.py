"""The form that starts a run is what the deployed pipeline takes, and sends what differs."""

from __future__ import annotations

import json

import pytest

from components.web.errors import BadInput
from components.web.operator.definition import Definition
from components.web.operator.start_form import catalogue, chosen, form
from components.web.tests.operator.aws import DEFINITION

PIPELINE = Definition.parse(json.dumps(DEFINITION))
CHAMPION = "s3://bucket/model.tar.gz"


def test_fields_have_the_definitions_defaults_and_the_catalogues_words():
    fields = {field.name: field for field in form("scenes", PIPELINE, CHAMPION).fields}
    assert fields["Epochs"].default == "25"
    assert fields["Epochs"].minimum == 1
    assert fields["Epochs"].description == catalogue()["Epochs"]["description"]
    assert fields["ApprovalStatus"].choices == ("Approved", "Rejected")
    assert fields["Quick"].choices == ("true", "false")
    assert fields["Quick"].value == "false"
    assert (fields["Champion"].value, fields["Champion"].default) == (CHAMPION, "")


def test_it_begins_with_what_the_newest_run_was_told_but_for_what_is_told_once():
    before = {
        "TrainDataset": "photos.zip",
        "LearningRate": "1e-3",  # the default, written otherwise
        "Champion": "s3://bucket/older.tar.gz",
        "ApprovalStatus": "Rejected",
        "Gone": "1",
    }
    made = form("scenes", PIPELINE, CHAMPION, "abcdefgh", before)
    fields = {field.name: field for field in made.fields}
    assert made.run == "abcdefgh"
    assert (fields["TrainDataset"].value, fields["TrainDataset"].source) == ("photos.zip", "run")
    assert fields["LearningRate"].source == "pipeline"
    assert (fields["Champion"].value, fields["Champion"].source) == (CHAMPION, "champion")
    assert fields["ApprovalStatus"].source == "pipeline"
    assert "Gone" not in fields


def test_a_parameter_that_only_the_pipeline_knows_is_offered_last():
    fields = form("scenes", PIPELINE, "").fields
    assert fields[0].name == "TrainDataset"
    assert {f.name for f in fields if f.group == "Everything else"} == {"Quick", "ApprovalStatus"}


def test_only_what_differs_from_the_defaults_is_sent():
    given = {"Epochs": "3", "LearningRate": "0.0010", "Quick": "True", "TrainDataset": " a.zip "}
    assert chosen(PIPELINE, given, "") == {"Epochs": "3", "Quick": "true", "TrainDataset": "a.zip"}


def test_the_champion_is_the_newest_approved_unless_somebody_says_otherwise():
    assert chosen(PIPELINE, {}, CHAMPION) == {"Champion": CHAMPION}
    assert chosen(PIPELINE, {"Champion": ""}, CHAMPION) == {}
    assert chosen(PIPELINE, {"Champion": "s3://other"}, CHAMPION) == {"Champion": "s3://other"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Epochs", "0", "'Epochs' is 0; the least is 1"),
        ("Epochs", "many", "'Epochs' takes a whole number, not 'many'"),
        ("LearningRate", "nan", "takes a number"),
        ("MinAccuracy", "2", "the most is 1"),
        ("ApprovalStatus", "Maybe", "choose one of Approved, Rejected"),
        ("Epoch", "3", "there is no parameter 'Epoch'; there are"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name, text, message):
    with pytest.raises(BadInput, match=message):
        chosen(PIPELINE, {name: text}, "")
