"""How much of a result is chance: the same run with several seeds, its figures' mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.component.errors import UsageError
from shared.component.port import ParameterValue
from shared.pipeline.dsl import Pipeline

SEED = "Seed"  # the parameter that splits, weights and samples follow from


def seeds_of(
    pipeline: Pipeline, given: Mapping[str, ParameterValue], count: int
) -> list[dict[str, ParameterValue]]:
    """Return the parameters of `count` runs: the given ones, with Seed and those that follow.

    Raises:
        UsageError: fewer than one run is asked for, or this pipeline has no seed.
    """
    if count < 1:
        raise UsageError(f"pipeline: --seeds {count} is no number of runs; give 1 or more")
    if count == 1:
        return [dict(given)]
    first = given.get(SEED, pipeline[SEED].default)
    if not isinstance(first, int):
        raise UsageError(f"pipeline: --seeds counts up from {SEED}, which is '{first}', no integer")
    return [{**given, SEED: first + number} for number in range(count)]


def lines(evaluations: Sequence[tuple[ParameterValue, Mapping[str, Any] | None]]) -> Iterator[str]:
    """Yield what several runs came to, line by line.

    evaluations: seed and evaluate's evaluation.json of each run; None where it came to none.
    """
    told = [(seed, found["metrics"]) for seed, found in evaluations if found]
    for seed, found in evaluations:
        if not found:
            yield f"seed {seed} came to no figures and is left out"
    if len(told) < 2:
        yield "fewer than two runs came to figures, so there is no spread"
        return
    title = "test metrics of seeds " + ", ".join(str(seed) for seed, _ in told)
    yield f"{title:<32}{'mean':>8}{'deviation':>12}{'least':>9}{'most':>9}"
    for name in told[0][1]:
        values = [metrics.get(name) for _, metrics in told]
        if all(isinstance(value, (int, float)) for value in values):
            mean, spread = statistics.mean(values), statistics.stdev(values)
            yield f"  {name:<30}{mean:>8.4f}{spread:>12.4f}{min(values):>9.4f}{max(values):>9.4f}"
