"""What a search tried, whoever ran it: trials.json of the local backend, or a tuning job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.component.errors import InputError

SCHEMA_VERSION = 1  # of trials.json, as shared/pipeline/backends/tuning.py writes it
STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Dimension:
    """One parameter that was searched over: `choices`, or from `low` to `high`."""

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_integer: bool = False


@dataclass(frozen=True)
class Trial:
    """One training.

    state: one of STATES; value: of the objective, of a pruned one the best it had reached.
    curve: (epoch, value) after each epoch, empty where nobody kept it.
    """

    number: int
    state: str
    value: float | None
    parameters: Mapping[str, str]
    curve: Sequence[tuple[int, float]] = ()
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Record:
    """A search.

    fixed: what all trials shared. code: of the component that was searched.
    baseline: number of the trial that had the values from before, None where none had.
    """

    study: str
    job: str
    component: str
    metric: str
    is_maximised: bool
    space: Sequence[Dimension]
    fixed: Mapping[str, str]
    seed: int
    code: str
    trials: Sequence[Trial]
    best: Trial
    baseline: int | None = None

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best first; what did not come to its end behind what did."""
        sign = -1.0 if self.is_maximised else 1.0

        def rank(trial: Trial) -> tuple[int, float, int]:
            value = 0.0 if trial.value is None else sign * trial.value
            return STATES.index(trial.state), value, trial.number

        return sorted(self.trials, key=rank)

    @property
    def counts(self) -> dict[str, int]:
        return {state: sum(t.state == state for t in self.trials) for state in STATES}

    @property
    def before(self) -> Trial | None:
        """The trial with the values that one had, where it came to its end."""
        found = (t for t in self.trials if t.number == self.baseline and t.state == "complete")
        return next(found, None)


def read_record(path: Path) -> Record:
    """Read trials.json.

    Raises:
        InputError: it is none, or of another version.
    """
    try:
        document = json.loads(path.read_text())
        if document["schema_version"] != SCHEMA_VERSION:
            raise InputError(
                f"tune: {path} has schema version {document['schema_version']}, not "
                f"{SCHEMA_VERSION}; write it with the backend of this version"
            )
        space = space_of(document["ranges"])
        ended = [body for body in document["trials"] if body["state"] in STATES]
        trials = [_trial(body, space) for body in ended]
        return Record(
            study=document["study"],
            job=document["job"],
            component=document["component"],
            metric=document["objective"]["metric"],
            is_maximised=document["objective"]["maximise"],
            space=space,
            fixed=document["fixed"],
            seed=document["seed"],
            code=document["code"],
            trials=trials,
            best=next(trial for trial in trials if trial.number == document["best"]),
            baseline=document.get("baseline"),
        )
    except (ValueError, KeyError, TypeError, StopIteration) as err:
        raise InputError(
            f"tune: {path} is no record of a search: {err!r}; run the search again"
        ) from err


def space_of(ranges: Mapping[str, Any]) -> list[Dimension]:
    """Return SageMaker's ParameterRanges, in the order of their kinds."""
    found = [
        Dimension(entry["Name"], choices=tuple(entry["Values"]))
        for entry in ranges.get("CategoricalParameterRanges", [])
    ]
    for kind in ("Continuous", "Integer"):
        found += [
            Dimension(
                entry["Name"],
                low=float(entry["MinValue"]),
                high=float(entry["MaxValue"]),
                is_log=entry.get("ScalingType") == "Logarithmic",
                is_integer=kind == "Integer",
            )
            for entry in ranges.get(f"{kind}ParameterRanges", [])
        ]
    return found


def _trial(body: Mapping[str, Any], space: Sequence[Dimension]) -> Trial:
    return Trial(
        number=body["number"],
        state=body["state"],
        value=body["value"],
        parameters={dimension.name: body["parameters"][dimension.name] for dimension in space},
        curve=[(int(epoch), float(value)) for epoch, value in body["curve"]],
        reason=body["reason"],
        seconds=body["seconds"],
    )
