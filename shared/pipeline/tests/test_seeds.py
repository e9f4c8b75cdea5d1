"""Several seeds: so many runs, each with its own, and what they came to together."""

from __future__ import annotations

import json

import pytest

import pipeline
from shared.component.errors import UsageError
from shared.pipeline.seeds import lines, seeds_of
from shared.pipeline.settings import Settings
from shared.pipeline.tests.conftest import Workshop

GRAPH = pipeline.build(Settings())


def test_the_seeds_count_up_from_the_given_one() -> None:
    found = seeds_of(GRAPH, {"Seed": 7, "Epochs": 2}, 3)
    assert found == [{"Seed": seed, "Epochs": 2} for seed in (7, 8, 9)]
    assert [run["Seed"] for run in seeds_of(GRAPH, {}, 2)] == [0, 1]
    assert seeds_of(GRAPH, {"Epochs": 2}, 1) == [{"Epochs": 2}]


def test_no_run_is_no_number_of_runs() -> None:
    with pytest.raises(UsageError, match="--seeds 0 is no number of runs"):
        seeds_of(GRAPH, {}, 0)


def test_mean_deviation_and_extremes_are_told() -> None:
    told = [(seed, {"metrics": {"accuracy": value}}) for seed, value in ((0, 0.7), (2, 0.9))]
    head, row = lines(told)
    assert " ".join(head.split()) == "test metrics of seeds 0, 2 mean deviation least most"
    assert row.split() == ["accuracy", "0.8000", "0.1414", "0.7000", "0.9000"]


def test_a_run_without_figures_is_named_not_counted() -> None:
    found = list(lines([(0, {"metrics": {"accuracy": 0.5}}), (1, None)]))
    assert found[0] == "seed 1 came to no figures and is left out"
    assert found[1].startswith("fewer than two runs")


def test_a_run_a_seed_is_started_and_compared(workshop: Workshop) -> None:
    status, out = workshop.start("--seeds", "2", "-p", "Seed=4")
    assert status == 0, out
    folders = (workshop.home / "executions" / "visionloop").iterdir()
    documents = [json.loads((folder / "execution.json").read_text()) for folder in folders]
    assert sorted(document["parameters"]["Seed"] for document in documents) == [4, 5]
    assert "test metrics of seeds 4, 5" in out
