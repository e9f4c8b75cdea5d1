"""What starts a run, and what does not: pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.retrain.decide import Decision, Outcome, Wake, before_looking, decide
from components.retrain.lake import Lake
from components.retrain.state import Snapshot, Start, State
from shared.component.operator import OPERATOR_PARAMETERS, OperatorValues
from shared.component.port import ParameterValue

NOW_S = 1_800_000_000.0
SET = {"scenes": "2026-11-01T00:00:00+00:00"}
LATER = {"more": "2026-11-02T00:00:00+00:00"}


def operator(**given: ParameterValue) -> OperatorValues:
    values = {name: port.default for name, port in OPERATOR_PARAMETERS.items()}
    changed = {name.replace("_", "-"): value for name, value in given.items()}
    return OperatorValues({**values, **changed})  # type: ignore[dict-item]


def items(count: int, start: int = 0, text: str = "") -> dict[str, str]:
    return {f"{n:064x}": f"sea {text}" for n in range(start, start + count)}


def look(
    lake: Lake, state: State, wakes: set[Wake] | None = None, **given: ParameterValue
) -> Decision:
    return decide(
        wakes or {Wake.LABELS},
        operator(**given),
        state,
        lake,
        now_s=NOW_S,
        quiet_s=300,
        bucket="data",
    )


def lake(labels: dict[str, str], sets: dict[str, str] = SET, age_s: float = 3600) -> Lake:
    return Lake(sets, labels, "m.json" if labels else "", NOW_S - age_s)


TRAINED = State(trained=Snapshot(SET, items(5), "scenes"))


def test_a_new_raw_set_starts_a_run_on_that_set_with_the_labels() -> None:
    decision = look(lake(items(5), SET | LATER), TRAINED)
    assert decision.outcome is Outcome.START
    assert decision.start is not None
    assert decision.start.parameters == {
        "TrainDataset": "s3://data/raw/more",
        "Annotations": "s3://data/labels/m.json",
        "MinMacroF1": "0.8",
    }


def test_two_new_sets_get_one_run_each_the_oldest_first() -> None:
    third = {"third": "2026-11-03T00:00:00+00:00"}
    first = look(lake(items(5), SET | LATER | third), TRAINED).start
    assert first is not None
    assert first.snapshot.raw_set == "more"
    second = look(lake(items(5), SET | LATER | third), State(trained=first.snapshot)).start
    assert second is not None
    assert second.snapshot.raw_set == "third"
    rest = look(lake(items(5), SET | LATER | third), State(trained=second.snapshot))
    assert rest.outcome is Outcome.NOTHING_NEW


def test_sets_written_in_the_same_second_get_one_run_each() -> None:
    twins = {"a": SET["scenes"], "b": SET["scenes"]}
    first = look(lake({}, SET | twins), TRAINED).start
    assert first is not None
    second = look(lake({}, SET | twins), State(trained=first.snapshot)).start
    assert second is not None
    assert {first.snapshot.raw_set, second.snapshot.raw_set} == {"a", "b"}


def test_of_sets_that_lay_there_before_the_first_run_only_the_newest_starts_one() -> None:
    first = look(lake({}, SET | LATER), State()).start
    assert first is not None
    assert first.snapshot.raw_set == "more"
    assert look(lake({}, SET | LATER), State(trained=first.snapshot)).start is None


def test_a_set_that_is_completed_again_starts_again() -> None:
    again = {"scenes": "2026-11-05T00:00:00+00:00"}
    assert look(lake(items(5), again), TRAINED).outcome is Outcome.START


@pytest.mark.parametrize(("new", "outcome"), [(9, Outcome.TOO_FEW), (10, Outcome.START)])
def test_labels_start_a_run_from_the_minimum_on(new: int, outcome: Outcome) -> None:
    assert look(lake(items(5 + new)), TRAINED).outcome is outcome


def test_corrected_labels_count() -> None:
    state = State(trained=Snapshot(SET, items(12), "scenes"))
    assert look(lake(items(12, text="corrected")), state).outcome is Outcome.START


def test_removed_labels_count() -> None:
    state = State(trained=Snapshot(SET, items(12), "scenes"))
    assert look(lake({}), state).outcome is Outcome.START


def test_another_manifest_of_the_same_labels_does_not_count() -> None:
    state = State(trained=Snapshot(SET, items(500), "scenes", "another.json"))
    assert look(lake(items(500)), state).outcome is Outcome.NOTHING_NEW


def test_a_sync_in_progress_is_waited_for() -> None:
    assert look(lake(items(50), age_s=299), TRAINED).outcome is Outcome.NOT_QUIET
    assert look(lake(items(50), age_s=300), TRAINED).outcome is Outcome.START


def test_without_a_raw_set_there_is_nothing_to_train_on() -> None:
    assert look(lake(items(50), {}), State()).outcome is Outcome.NOTHING_NEW


def test_the_least_f1_comes_from_the_operator() -> None:
    start = look(lake(items(50)), TRAINED, Minimum_F1_Score=0.93).start
    assert start is not None
    assert start.parameters["MinMacroF1"] == "0.93"


def failed(labels: dict[str, str], sets: dict[str, str] = SET) -> State:
    run = Snapshot(sets, labels, next(reversed(sets)))
    return replace(TRAINED, started=Start("t", {}, run, "arn"))


def test_a_run_that_failed_is_not_repeated_on_the_same_data() -> None:
    assert look(lake(items(20)), failed(items(20))).outcome is Outcome.FAILED_BEFORE


@pytest.mark.parametrize(("more", "outcome"), [(9, Outcome.FAILED_BEFORE), (10, Outcome.START)])
def test_after_a_failed_run_the_minimum_counts_from_there(more: int, outcome: Outcome) -> None:
    """A gate that does not pass would else cost a run for each label that comes."""
    assert look(lake(items(20 + more)), failed(items(20))).outcome is outcome


def test_a_first_run_that_failed_waits_for_the_minimum_too() -> None:
    state = State(started=Start("t", {}, Snapshot(SET, items(20), "scenes"), "arn"))
    assert look(lake(items(21)), state).outcome is Outcome.FAILED_BEFORE
    assert look(lake(items(30)), state).outcome is Outcome.START


def test_labels_after_a_raw_set_that_failed_train_with_the_last_good_set() -> None:
    state = failed(items(5), SET | LATER)
    start = look(lake(items(20), SET | LATER), state).start
    assert start is not None
    assert start.snapshot.raw_set == "scenes"
    later = look(lake(items(20), SET | LATER), State(trained=start.snapshot))
    assert later.outcome is Outcome.NOTHING_NEW


def test_drift_starts_with_few_only_where_the_operator_allows() -> None:
    few, drift = lake(items(6)), {Wake.DRIFT}
    assert look(few, TRAINED, drift, Enable_Drift_Retraining=True).outcome is Outcome.START
    assert look(few, TRAINED, drift).outcome is Outcome.TOO_FEW
    off = before_looking(drift, operator(), TRAINED, NOW_S)
    assert off is not None
    assert off.outcome is Outcome.OFF


def test_drift_without_new_data_starts_nothing() -> None:
    decision = look(lake(items(5)), TRAINED, {Wake.DRIFT}, Enable_Drift_Retraining=True)
    assert decision.outcome is Outcome.NOTHING_NEW


@pytest.mark.parametrize("wake", list(Wake))
def test_switched_off_nothing_is_looked_at(wake: Wake) -> None:
    early = before_looking({wake}, operator(Enable_Automatic_Training=False), State(), NOW_S)
    assert early is not None
    assert early.outcome is Outcome.OFF


@pytest.mark.parametrize(("minutes", "looks"), [(29, False), (30, True)])
def test_a_tick_looks_as_often_as_the_operator_wants(minutes: int, looks: bool) -> None:
    state = State(looked_at_s=NOW_S - 60 * minutes)
    values = operator(Automatic_Training_Poll_Frequency=30)
    early = before_looking({Wake.TICK}, values, state, NOW_S)
    assert (early is None) is looks


def test_a_tick_that_comes_a_second_early_counts() -> None:
    """Of two ticks the first may have waited for a cold start; five minutes would become ten."""
    state = State(looked_at_s=NOW_S - 299)
    values = operator(Automatic_Training_Poll_Frequency=5)
    assert before_looking({Wake.TICK}, values, state, NOW_S) is None


def test_a_tick_looks_at_once_where_something_waits() -> None:
    state = State(looked_at_s=NOW_S, is_pending=True)
    assert before_looking({Wake.TICK}, operator(), state, NOW_S) is None


def test_a_tick_is_heeded_beside_a_drift_alarm_that_only_tells() -> None:
    assert before_looking({Wake.TICK, Wake.DRIFT}, operator(), State(), NOW_S) is None
    soon = State(looked_at_s=NOW_S)
    early = before_looking({Wake.TICK, Wake.DRIFT}, operator(), soon, NOW_S)
    assert early is not None
    assert early.outcome is Outcome.NOT_DUE


def test_the_token_tells_data_and_parameters_apart() -> None:
    def token(labels: dict[str, str], **given: ParameterValue) -> str:
        start = look(lake(labels), TRAINED, **given).start
        assert start is not None
        assert 32 <= len(start.token) <= 128
        return start.token

    assert token(items(50)) == token(items(50))
    assert token(items(50)) != token(items(51))
    assert token(items(50)) != token(items(50), Minimum_F1_Score=0.9)
