"""The study of a local search: Optuna over a sqlite file that outlives its process.

A trial of ours is known by its number, from 1. One that was interrupted, or that is to be
tried again, goes on under its number as a new trial of Optuna's; what counts is the newest.

With one worker the same seed gives the same trials, also after an interruption: each trial is
sampled by a sampler of its own, seeded by the search's seed and the trial's number. Several
workers ask while others still run, and who ends first is chance: then only the seed's start
is shared.

The only file that imports optuna; it takes half a second, so it is imported when a search runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from shared.pipeline.errors import DefinitionError, ExecutionError

Json = dict[str, Any]
# Optuna's default of 10 would leave half of a search of 20 to chance.
_RANDOM_TRIALS = 6
# Median pruning: a trial ends early whose best value so far is worse than the median of the
# others at the same epoch. Hyperband is made for hundreds of trials: it spends the budget of
# twenty on few brackets, and kills slow starters (a low learning rate) by their first epochs.
_UNPRUNED_TRIALS = 5  # that ended, before any is pruned
_UNPRUNED_EPOCHS = 2  # of each trial: warm-up, and averaged weights that have just begun
STRATEGIES = ("Bayesian", "Random")  # of SageMaker's; Bayesian is Optuna's TPE here
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


ReadLog = Callable[[Path], Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class Asked:
    """A trial to run; parameters are hyperparameters: strings.

    seen: values by epoch; of one that was interrupted with those from before.
    """

    number: int
    parameters: Mapping[str, str]
    trial: optuna.Trial
    seen: dict[int, float] = field(default_factory=dict)


class Study:
    """One search; all methods may be called by several threads.

    config: HyperParameterTuningJobConfig of the definition. sign: 1 maximises, -1 minimises.

    Raises:
        DefinitionError: SageMaker has the strategy, this machine has not.
    """

    def __init__(self, folder: Path, config: Json, sign: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        self._space = distributions(config["ParameterRanges"])
        self._sign, self._seed = sign, int(config.get("RandomSeed", 0))
        self._strategy = config["Strategy"]
        if self._strategy not in STRATEGIES:
            raise DefinitionError(
                f"local: strategy {self._strategy} is SageMaker's alone; this machine has "
                + ", ".join(STRATEGIES)
            )
        self._lock = threading.RLock()
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{folder.absolute() / 'study.db'}",
            engine_kwargs={"connect_args": {"timeout": 60}},
        )
        self._study = optuna.create_study(
            storage=storage,
            study_name="search",
            direction="maximize" if sign > 0 else "minimize",
            pruner=_pruner(config.get("TrainingJobEarlyStoppingType", "Off")),
            load_if_exists=True,
        )

    def begin(self, first: Mapping[str, str], read: ReadLog) -> None:
        """Take up the search: what was interrupted goes on, and a new search begins with `first`.

        first: values to try first, as far as they lie in the space.
        read: finds the objective in the log of a trial that was interrupted: what it told last
            it will not tell again, and nobody may have noted it.
        """
        for number, trial in self._newest().items():
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
                self.again(number, read(Path(trial.user_attrs.get("log", ""))))
        if not self._study.get_trials(deepcopy=False):
            values = dict(within(first, self._space))
            self._study.enqueue_trial(values, user_attrs={"number": 1})

    def again(self, number: int, unnoted: Sequence[tuple[int, float]] = ()) -> None:
        """Try a trial once more, under its number, with the values it has reached before."""
        trial = self._newest()[number]
        seen = trial.intermediate_values | dict(unnoted)
        facts = {"number": number, "seen": sorted(seen.items())}
        self._study.enqueue_trial(trial.params, user_attrs=facts)

    def ask(self, most: int) -> Asked | None:
        """Return the next trial, None where `most` have begun."""
        with self._lock:
            newest = self._newest()
            waiting = [n for n, t in newest.items() if t.state == TrialState.WAITING]
            if not waiting and len(newest) >= most:
                return None
            number = waiting[0] if waiting else max(newest, default=0) + 1
            self._study.sampler = self._sampler(number)
            trial = self._study.ask(self._space)
            trial.set_user_attr("number", number)
            asked = Asked(number, {n: as_text(v) for n, v in trial.params.items()}, trial)
            for epoch, value in trial.user_attrs.get("seen", []):
                self.report(asked, epoch, value)
            return asked

    def note(self, asked: Asked, **facts: Any) -> None:
        """Keep facts about a running trial."""
        with self._lock:
            for name, value in facts.items():
                asked.trial.set_user_attr(name, value)

    def report(self, asked: Asked, epoch: int, value: float) -> bool:
        """Take in a trial's value after an epoch; tell whether it had better end."""
        with self._lock:
            if epoch not in asked.seen:  # it may have been told before an interruption
                asked.seen[epoch] = value
                asked.trial.report(value, epoch)
            return bool(asked.trial.should_prune())

    def end(self, asked: Asked, value: float | None, *, is_pruned: bool = False) -> None:
        """Close a trial: complete with its value, pruned, or failed."""
        without = TrialState.PRUNED if is_pruned else TrialState.FAIL
        with self._lock:
            state = without if value is None else TrialState.COMPLETE
            self._study.tell(asked.trial, value, state)

    def trials(self) -> list[Json]:
        """Return every trial as trials.json tells of it, by number."""
        with self._lock:
            newest = self._newest()
        found = (n for n in sorted(newest) if newest[n].state in _STATES)
        return [_record(number, newest[number], self._sign) for number in found]

    def best(self) -> Json | None:
        """Return the best complete trial, the earliest of several; None where there is none."""
        return best_of(self.trials(), self._sign)

    def _newest(self) -> dict[int, FrozenTrial]:
        found = self._study.get_trials(deepcopy=False)
        return {int(trial.user_attrs["number"]): trial for trial in found}

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        digest = hashlib.sha256(f"{self._seed}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if self._strategy == "Random":
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=seed)


def _pruner(early_stopping: str) -> optuna.pruners.BasePruner:
    if early_stopping == "Off":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(_UNPRUNED_TRIALS, _UNPRUNED_EPOCHS)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a study while the block runs; a killed one lets go.

    Raises:
        ExecutionError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise ExecutionError(
                f"local: another process is at this search: {folder}; wait for it or stop it"
            ) from err
        yield


def best_of(trials: Sequence[Json], sign: int) -> Json | None:
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda t: (sign * t["value"], -t["number"]), default=None)


def distributions(ranges: Json) -> dict[str, BaseDistribution]:
    """Return SageMaker's ParameterRanges as Optuna's distributions."""
    found: dict[str, BaseDistribution] = {}
    for entry in ranges.get("CategoricalParameterRanges", []):
        found[entry["Name"]] = CategoricalDistribution(entry["Values"])
    for entry in ranges.get("ContinuousParameterRanges", []):
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
        found[entry["Name"]] = FloatDistribution(low, high, log=_is_log(entry))
    for entry in ranges.get("IntegerParameterRanges", []):
        ends = int(entry["MinValue"]), int(entry["MaxValue"])
        found[entry["Name"]] = IntDistribution(*ends, log=_is_log(entry))
    return found


def as_text(value: Any) -> str:
    """Return a sampled value as the hyperparameter that is sent: six digits are plenty."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_log(entry: Json) -> bool:
    return bool(entry.get("ScalingType") == "Logarithmic")


def within(
    values: Mapping[str, str], space: Mapping[str, BaseDistribution]
) -> Iterator[tuple[str, Any]]:
    """Yield the values that lie in the space, of its types."""
    for name, distribution in space.items():
        if name not in values:
            continue
        value: Any = values[name]
        if isinstance(distribution, CategoricalDistribution):
            is_within = value in distribution.choices
        elif isinstance(distribution, FloatDistribution | IntDistribution):
            value = float(value) if isinstance(distribution, FloatDistribution) else int(value)
            is_within = distribution.low <= value <= distribution.high
        if is_within:
            yield name, value


def _record(number: int, trial: FrozenTrial, sign: int) -> Json:
    facts = trial.user_attrs
    seen = trial.intermediate_values
    best_seen = max(seen.values(), key=lambda value: sign * value, default=None)
    return {
        "number": number,
        "state": _STATES[trial.state],
        "value": trial.value if trial.state == TrialState.COMPLETE else best_seen,
        "parameters": {name: as_text(value) for name, value in trial.params.items()},
        "curve": [[epoch, seen[epoch]] for epoch in sorted(seen)],
        "job": facts.get("job", ""),
        "reason": facts.get("reason", ""),
        "seconds": facts.get("seconds"),
    }
