"""The parts of a local search: its study, its reader of logs, what it makes of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.backends.search_plan import study_key, trial_request
from shared.pipeline.backends.study import Study, alone, distributions, within
from shared.pipeline.backends.tuning import ObjectiveReader, best_value, progress
from shared.pipeline.errors import DefinitionError, ExecutionError

RANGES = {
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["adamw", "sgd"]}],
    "IntegerParameterRanges": [{"Name": "batch_size", "MinValue": "8", "MaxValue": "64"}],
    "ContinuousParameterRanges": [
        {
            "Name": "learning_rate",
            "MinValue": "0.001",
            "MaxValue": "0.1",
            "ScalingType": "Logarithmic",
        }
    ],
}
PATTERNS = {"epoch": "epoch=([0-9]+)", "val_f1": "val_f1=([0-9.]+)"}


def _config(**more: Any) -> dict[str, Any]:
    limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2}
    return {
        "Strategy": "Bayesian",
        "ParameterRanges": RANGES,
        "ResourceLimits": limits,
        "RandomSeed": 0,
        "TrainingJobEarlyStoppingType": "Off",
    } | more


def _asked(folder: Path, count: int, **config: Any) -> list[dict[str, str]]:
    study = Study(folder, _config(**config), 1)
    study.begin({}, lambda _: [])
    found = []
    for number in range(1, count + 1):
        asked = study.ask(count)
        assert asked is not None
        assert asked.number == number
        study.report(asked, 1, 0.1 * number)
        study.end(asked, 0.1 * number)
        found.append(dict(asked.parameters))
    assert study.ask(count) is None
    return found


def test_values_are_strings_within_their_ranges_and_the_seed_decides(tmp_path: Path) -> None:
    one = _asked(tmp_path / "one", 8)
    for values in one:
        assert values["optimizer"] in ("adamw", "sgd")
        assert 8 <= int(values["batch_size"]) <= 64
        assert 0.001 <= float(values["learning_rate"]) <= 0.1
        assert len(values["learning_rate"]) <= 10, "six digits"
    assert _asked(tmp_path / "same", 8) == one
    assert _asked(tmp_path / "other", 8, RandomSeed=1) != one
    chance = _asked(tmp_path / "random", 8, Strategy="Random")
    assert chance[6:] != one[6:], "after the random start TPE goes its own way"


def test_a_strategy_that_only_sagemaker_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="Hyperband is SageMaker's alone; this machine has"):
        Study(tmp_path, _config(Strategy="Hyperband"), 1)


def test_without_early_stopping_nothing_is_pruned_and_with_it_the_worse_half(
    tmp_path: Path,
) -> None:
    for stopping, is_pruned in (("Off", False), ("Auto", True)):
        study = Study(tmp_path / stopping, _config(TrainingJobEarlyStoppingType=stopping), 1)
        for number in range(1, 7):
            asked = study.ask(7)
            assert asked is not None
            for epoch in (1, 2, 3):
                study.report(asked, epoch, 0.1 * number * epoch)
            study.end(asked, 0.3 * number)
        hopeless = study.ask(7)
        assert hopeless is not None
        assert not study.report(hopeless, 1, 0.01), "averaged weights have just begun"
        assert study.report(hopeless, 2, 0.02) is is_pruned


def test_what_was_interrupted_goes_on_with_what_its_log_has_told(tmp_path: Path) -> None:
    study = Study(tmp_path, _config(), 1)
    first = study.ask(3)
    assert first is not None
    study.note(first, log=str(tmp_path / "log.txt"))
    study.report(first, 1, 0.2)
    again = Study(tmp_path, _config(), 1)
    again.begin({}, lambda path: [(1, 0.2), (2, 0.4)] if path.name == "log.txt" else [])
    resumed = again.ask(3)
    assert resumed is not None
    assert (resumed.number, resumed.parameters) == (1, first.parameters)
    assert resumed.seen == {1: 0.2, 2: 0.4}
    again.end(resumed, 0.4)
    assert [trial["curve"] for trial in again.trials()] == [[[1, 0.2], [2, 0.4]]]


def test_two_processes_are_not_at_one_search(tmp_path: Path) -> None:
    said = "another process is at this search"
    with alone(tmp_path), pytest.raises(ExecutionError, match=said), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_a_first_trial_is_taken_as_far_as_the_space_has_it() -> None:
    values = {"optimizer": "lamb", "batch_size": "16", "learning_rate": "0.5", "epochs": "3"}
    assert dict(within(values, distributions(RANGES))) == {"batch_size": 16}


def test_the_reader_takes_whole_lines_once(tmp_path: Path) -> None:
    log, reader = tmp_path / "log.txt", ObjectiveReader(PATTERNS, "val_f1")
    assert reader.read(log) == []
    log.write_text("epoch=1/3 val_f1=0.25\nnothing\nepoch=2/3 val_f")
    assert reader.read(log) == [(1, 0.25)]
    with log.open("a") as stream:
        stream.write("1=0.5\nval_f1=0.75\n")
    assert reader.read(log) == [(2, 0.5), (3, 0.75)], "a line without an epoch is the next one"
    assert reader.read(log) == []


def test_a_trials_value_is_that_of_its_best_epoch() -> None:
    assert best_value({1: 0.2, 2: 0.9, 3: 0.5}, 1) == 0.9
    assert best_value({1: 0.2, 2: 0.9, 3: 0.5}, -1) == 0.2
    assert best_value({}, 1) is None


def test_progress_tells_what_has_ended_and_the_best_so_far() -> None:
    trials = [
        {"number": 1, "state": "complete", "value": 0.5},
        {"number": 2, "state": "complete", "value": 0.75},
        {"number": 3, "state": "failed", "value": None},
        {"number": 4, "state": "running", "value": 0.9},
    ]
    said = "progress=3/8 unit=trials best=0.7500 failed=1 running=1"
    assert progress(trials, 8, 1) == said


def test_a_trial_is_the_definitions_training_with_a_place_for_its_logs() -> None:
    request = {
        "HyperParameterTuningJobConfig": _config(),
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"epochs": "3"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/x-tune/training"},
            "Environment": {"VISIONLOOP_LOGS": "output/data/tensorboard", "OTHER": "1"},
        },
    }
    made = trial_request(request, {"optimizer": "sgd"})
    assert made["HyperParameters"] == {"epochs": "3", "optimizer": "sgd"}
    assert made["TensorBoardOutputConfig"]["S3OutputPath"] == "s3://bucket/x-tune/tensorboard"
    assert made["Environment"] == {"OTHER": "1"}
    more = {"HyperParameterTuningJobConfig": _config(ResourceLimits={})}
    assert study_key("base", request | more) == study_key("base", request)
    other = {"HyperParameterTuningJobConfig": _config(RandomSeed=1)}
    assert study_key("base", request | other) != study_key("base", request)
