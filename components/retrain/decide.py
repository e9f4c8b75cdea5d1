"""Is there anything to train on? Pure: facts in, a decision with its reason out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from components.retrain.lake import LABELS, RAW, Lake
from components.retrain.state import Snapshot, Start, State
from shared.component.operator import OperatorValues

_MINUTE_S = 60.0
_TICKS_VARY_BY_S = 30.0  # the queue and a cold start delay one tick more than another


class Wake(StrEnum):
    """Why the function was woken; it says where to look first, never what is there."""

    LABELS = "labels"
    RAW = "raw"
    TICK = "tick"
    DRIFT = "drift"
    COMMIT = "commit"


class Outcome(StrEnum):
    """What a look ended with; those that wait are looked at again at the next tick."""

    OFF = "off"
    NOT_DUE = "not_due"
    RUNNING = "running"
    NOTHING_NEW = "nothing_new"
    TOO_FEW = "too_few"
    NOT_QUIET = "not_quiet"
    FAILED_BEFORE = "failed_before"
    NO_PIPELINE = "no_pipeline"
    START = "start"


WAITS = (Outcome.RUNNING, Outcome.NOT_QUIET)


@dataclass(frozen=True)
class Decision:
    """reason: for the log, one clause. start: what to start, with `Outcome.START` alone."""

    outcome: Outcome
    reason: str
    start: Start | None = None


def before_looking(
    wakes: set[Wake], operator: OperatorValues, state: State, now_s: float
) -> Decision | None:
    """Return why not to look at all, or None: look."""
    if not operator.flag("Enable-Automatic-Training"):
        return Decision(Outcome.OFF, "Enable-Automatic-Training is false")
    if wakes == {Wake.DRIFT} and not operator.flag("Enable-Drift-Retraining"):
        return Decision(Outcome.OFF, "drift only tells: Enable-Drift-Retraining is false")
    told = wakes & {Wake.RAW, Wake.LABELS, Wake.COMMIT}
    if operator.flag("Enable-Drift-Retraining"):
        told |= wakes & {Wake.DRIFT}
    due_s = state.looked_at_s + _MINUTE_S * operator.integer("Automatic-Training-Poll-Frequency")
    if not told and not state.is_pending and now_s < due_s - _TICKS_VARY_BY_S:
        return Decision(Outcome.NOT_DUE, f"the next look is due in {due_s - now_s:.0f} s")
    return None


def decide(  # noqa: PLR0911 - one return a rule
    wakes: set[Wake],
    operator: OperatorValues,
    state: State,
    lake: Lake,
    *,
    now_s: float,
    quiet_s: float,
    bucket: str,
    champion: str = "",
) -> Decision:
    """Return what to do about the data there is; no run is in progress.

    state: its `started`, if any, has failed.
    bucket: the data bucket, for the run's parameters.
    champion: s3:// of the approved model that the run's is compared with, "" for none.
    """
    failed = state.started.snapshot if state.started else None
    seen = {**state.trained.sets, **(failed.sets if failed else {})}
    fresh = _fresh_set(seen, lake)
    raw_set = fresh or _settled_set(state.trained, failed, lake)
    if not raw_set:
        return Decision(Outcome.NOTHING_NEW, f"no complete set in s3://{bucket}/{RAW}")
    sets = {**(seen or lake.sets), raw_set: lake.sets[raw_set]}
    snapshot = Snapshot(sets, lake.labels, raw_set, lake.manifest)
    changes = snapshot.changes(state.trained)
    parameters = _parameters(snapshot, operator, bucket, champion)
    if fresh or Wake.COMMIT in wakes:
        what = f"raw set {fresh}" if fresh else "a commit"
        return _start(snapshot, parameters, f"{what}, {changes} changed labels", now_s)
    if not changes:
        return Decision(Outcome.NOTHING_NEW, "all labels were trained on")
    least = _least(wakes, operator)
    if changes < least:
        return Decision(Outcome.TOO_FEW, f"{changes} of at least {least} changed labels")
    if now_s - lake.changed_s < quiet_s:
        return Decision(Outcome.NOT_QUIET, f"labels still changed within {quiet_s:.0f} s")
    since = _since_failure(snapshot, failed)
    if since is not None and since < least:
        reason = f"the run on this data failed; {since} of at least {least} changed since"
        return Decision(Outcome.FAILED_BEFORE, reason)
    return _start(snapshot, parameters, f"{changes} changed labels", now_s)


def _since_failure(snapshot: Snapshot, failed: Snapshot | None) -> int | None:
    """Count what changed since the run on the same raw set failed; None: none did.

    The minimum counts from there: a gate that does not pass would else cost a run for each
    label that comes.
    """
    if failed is None or failed.raw_set != snapshot.raw_set:
        return None
    return snapshot.changes(failed)


def _least(wakes: set[Wake], operator: OperatorValues) -> int:
    if Wake.DRIFT in wakes and operator.flag("Enable-Drift-Retraining"):
        return 1
    return operator.integer("Minimum-Untrained-Images")


def _fresh_set(seen: Mapping[str, str], lake: Lake) -> str:
    """Return the oldest set that no run was started on, so that each gets its run.

    Where there never was a run, the newest: what lay there before counts as seen.
    """
    fresh = [name for name, version in lake.sets.items() if seen.get(name) != version]
    choose = min if seen else max
    return choose(fresh, key=lambda name: (lake.sets[name], name), default="")


def _settled_set(trained: Snapshot, failed: Snapshot | None, lake: Lake) -> str:
    """Return the set that labels are trained with: the last that a run succeeded on."""
    if trained.raw_set in lake.sets:
        return trained.raw_set
    others = lake.sets.keys() - ({failed.raw_set} if failed else set())
    return max(others or lake.sets, key=lambda name: (lake.sets[name], name), default="")


def _parameters(
    snapshot: Snapshot, operator: OperatorValues, bucket: str, champion: str
) -> dict[str, str]:
    """Return the pipeline's parameters for this data."""
    parameters = {
        "TrainDataset": f"s3://{bucket}/{RAW}{snapshot.raw_set}",
        "MinMacroF1": str(operator.number("Minimum-F1-Score")),
    }
    if snapshot.labels:
        parameters["Annotations"] = f"s3://{bucket}/{LABELS}{snapshot.manifest}"
    if champion:
        parameters["Champion"] = champion
    return parameters


def _start(snapshot: Snapshot, parameters: dict[str, str], reason: str, now_s: float) -> Decision:
    start = Start(_token(snapshot, parameters, now_s), parameters, snapshot)
    return Decision(Outcome.START, reason, start)


def _token(snapshot: Snapshot, parameters: Mapping[str, str], now_s: float) -> str:
    """Return 64 characters; SageMaker takes 32 to 128.

    Each decision has its own, which the state keeps until SageMaker has answered. Of the data
    alone, a run on data that was trained on long ago (corrections taken back, the state
    deleted) would be answered by the old execution, and nothing would run.
    """
    text = snapshot.fingerprint + repr(sorted(parameters.items())) + repr(now_s)
    return hashlib.sha256(text.encode()).hexdigest()
