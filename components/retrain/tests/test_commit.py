"""A commit's run: on the present data, never beside another, compared with the champion."""

from __future__ import annotations

from components.retrain.decide import Outcome, Wake
from components.retrain.tests.world import World


def test_a_commit_trains_the_present_data_once(trained: World) -> None:
    trained.annotate(range(3))  # fewer than the minimum, which counts for labels alone
    assert trained.look() is Outcome.TOO_FEW
    assert trained.look(Wake.COMMIT) is Outcome.START
    trained.pipelines.end()
    assert trained.pipelines.executions[-1]["parameters"].keys() >= {"TrainDataset", "Annotations"}
    assert trained.look(Wake.TICK) is Outcome.NOT_DUE
    assert trained.look() is Outcome.NOTHING_NEW


def test_a_commit_during_a_run_has_its_run_after_it(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    assert trained.look(Wake.COMMIT) is Outcome.RUNNING
    assert trained.look(Wake.TICK) is Outcome.RUNNING
    trained.pipelines.end()
    assert trained.look(Wake.TICK) is Outcome.START
    trained.pipelines.end()
    trained.now_s += 3600
    assert trained.look(Wake.TICK) is Outcome.NOTHING_NEW


def test_a_commit_while_training_is_off_has_its_run_when_it_is_on(trained: World) -> None:
    trained.tune("Enable-Automatic-Training", "false")
    assert trained.look(Wake.COMMIT) is Outcome.OFF
    assert trained.look(Wake.TICK) is Outcome.OFF
    trained.tune("Enable-Automatic-Training", "true")
    assert trained.look(Wake.TICK) is Outcome.START
    trained.pipelines.end()
    assert trained.look(Wake.LABELS) is Outcome.NOTHING_NEW


def test_a_commit_repeats_a_run_that_failed(trained: World) -> None:
    trained.annotate(range(20))
    trained.look()
    trained.pipelines.end("Failed")
    assert trained.look() is Outcome.FAILED_BEFORE
    assert trained.look(Wake.COMMIT) is Outcome.START


def test_a_commit_before_there_is_data_starts_nothing(world: World) -> None:
    assert world.look(Wake.COMMIT) is Outcome.NOTHING_NEW
    assert world.pipelines.executions == []


def test_a_run_is_compared_with_the_newest_approved_model(trained: World) -> None:
    """Without it the gate against regression has nothing to hold the new model to."""
    assert "Champion" not in trained.pipelines.executions[0]["parameters"]
    trained.pipelines.approved = [2, 10, 9]
    trained.annotate(range(20))
    trained.look()
    started = trained.pipelines.executions[-1]["parameters"]
    assert started["Champion"] == "s3://artifacts/model-10.tar.gz"
