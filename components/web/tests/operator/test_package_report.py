"""What register wrote is read; what older code left out is missing, never an error."""

from __future__ import annotations

import json

import pytest

from components.web.operator.package_report import read_figures
from components.web.tests.operator import documents


def figures_of(**changes):
    report = {n: v for n, v in (documents.REPORT | changes).items() if v is not None}
    return read_figures(json.dumps(report).encode(), json.dumps(documents.STATISTICS).encode())


def test_scores_of_classes_come_from_the_confusion_matrix():
    figures = figures_of()
    assert figures.confusion.rows == [[8, 2], [1, 9]]
    forest, sea = figures.classes
    assert (forest.recall, forest.precision, forest.images) == (0.8, 8 / 9, 10)
    assert sea.f1 == pytest.approx(2 * 9 / (10 + 11))


def test_all_of_a_report_is_read():
    figures = figures_of()
    assert figures.metrics == documents.METRICS
    assert figures.robustness.corruptions["snow"][4] == 0.4
    assert figures.robustness.epsilons == [1.0, 2.0]
    assert figures.comparison.interval == (-0.1, 0.2)
    assert figures.accuracy_interval == (0.7, 0.95)
    assert figures.model.name == "tiny"
    assert figures.gates[0].passed is False


def test_a_model_without_a_champion_says_why():
    figures = figures_of(champion={"none": "there is no approved model yet"})
    assert figures.comparison.note == "there is no approved model yet"
    assert figures.comparison.difference is None


@pytest.mark.parametrize(
    "part", ["robustness", "champion", "model", "accuracy_interval_95", "golden_images", "gates"]
)
def test_what_older_packages_do_not_say_is_missing(part):
    figures = figures_of(**{part: None})
    assert figures.metrics == documents.METRICS
    assert figures_of(**{part: "damaged"}).metrics == documents.METRICS


def test_numbers_that_are_none_are_left_out():
    assert figures_of(metrics={"accuracy": float("nan"), "f1": "NaN", "ece": 0.1}).metrics == {
        "ece": 0.1
    }


def test_what_json_cannot_say_again_is_left_out():
    broken = documents.REPORT["robustness"] | {"clean": float("nan")}
    assert figures_of(robustness=broken).robustness is None


@pytest.mark.parametrize("data", [None, b"", b"[]", b"no JSON"])
def test_no_report_is_no_figures(data):
    figures = read_figures(data, data)
    assert figures.metrics == {}
    assert figures.confusion is None
    assert figures.classes == ()


def test_a_class_that_nobody_has_seen_has_scores_of_nothing():
    matrix = {"a": {"a": 0, "b": 0}, "b": {"a": 0, "b": 4}}
    body = {"multiclass_classification_metrics": {"confusion_matrix": matrix}}
    first = read_figures(b"{}", json.dumps(body).encode()).classes[0]
    assert (first.recall, first.precision, first.f1) == (0.0, 0.0, 0.0)
