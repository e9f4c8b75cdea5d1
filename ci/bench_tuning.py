"""python -m ci bench_tuning: what the search finds, beside random search with the same budget.

    python -m ci bench_tuning --trials 20

Both search the same space with as many trials of as many epochs on the same images: ours, as
`python pipeline.py --tune` does it (the values from before first, then TPE, hopeless trials
pruned), and random search without pruning. Prints JSON: the machine, and per search seconds,
the best value, and the best so far after each trial. Values are of validation images. One run
of each: of two searches of 20 trials that differ by 0.02, neither is proven better.

An interrupted run goes on; all it makes lies below --folder. Runs alone: what else the machine
does falsifies the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pipeline
from ci.bench import machine
from shared.component.files import write_json
from shared.pipeline.backends.local import LocalBackend
from shared.pipeline.compiler import document
from shared.pipeline.display import follow
from shared.pipeline.errors import JobError
from shared.pipeline.search_space import Space
from shared.pipeline.settings import Settings

# SageMaker's names of what a search does, which the local backend obeys.
_SEARCHES = {
    "ours": {"Strategy": "Bayesian", "TrainingJobEarlyStoppingType": "Auto"},
    "random": {"Strategy": "Random", "TrainingJobEarlyStoppingType": "Off"},
}
_SEARCH = "Search"
_NAME = "bench"


def main(argv: Sequence[str]) -> int:
    """Run both searches and print one JSON document."""
    arguments = _parser().parse_args(argv)
    folder = Path(arguments.folder).absolute()
    given = {
        "TrainDataset": arguments.data,
        "ImageSize": arguments.image_size,
        "Epochs": arguments.epochs,
        "Trials": arguments.trials,
        "ParallelTrials": len(os.sched_getaffinity(0)),
        "PretrainedWeights": "none",
        "Seed": arguments.seed,
    }
    space = Space(Path(arguments.space).absolute()) if arguments.space else Space()
    found = {name: run(folder / name, config, given, space) for name, config in _SEARCHES.items()}
    result = {
        "machine": machine(),
        "given": given,
        "searches": found,
        "ours_minus_random": round(found["ours"]["best"] - found["random"]["best"], 4),
        "seconds_of_random": round(found["ours"]["trained_s"] / found["random"]["trained_s"], 3),
    }
    write_json(folder / "tuning.json", result)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


def run(home: Path, config: dict[str, str], given: dict[str, Any], space: Space) -> dict[str, Any]:
    """Run one search, or go on with it; return its figures.

    Raises:
        JobError: it failed.
    """
    settings = Settings(home=home, explicit_defaults=os.devnull)
    graph = pipeline.build_search(settings, _NAME, space)
    definition = document(graph, settings)
    names = [step["Name"] for step in definition["Steps"]]
    # The winner is of no interest here, the test images least of all.
    definition["Steps"] = definition["Steps"][: names.index(_SEARCH) + 1]
    definition["Steps"][-1]["Arguments"]["HyperParameterTuningJobConfig"] |= config
    backend = LocalBackend(settings)
    backend.upsert(graph.name, json.dumps(definition))
    with follow(graph.components) as watch:
        execution = backend.start(graph.name, given, watch)
    if execution.status != "Succeeded":
        raise JobError(f"bench_tuning: {home.name}: {execution.status}: {execution.reason}")
    files = home.glob(f"s3/*/{graph.name}/training/*/trials.json")
    record = json.loads(max(files, key=lambda file: file.stat().st_mtime).read_text())
    return figures(record)


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a search has come to, from its trials.json."""
    trials = record["trials"]
    states = [trial["state"] for trial in trials]
    best, so_far = 0.0, []
    for trial in trials:
        if trial["state"] == "complete":
            best = max(best, trial["value"])
        so_far.append(round(best, 4))
    winner = next(trial for trial in trials if trial["number"] == record["best"])
    return {
        "best": round(winner["value"], 4),
        "best_trial": winner["number"],
        "parameters": winner["parameters"],
        "best_so_far": so_far,
        "trained_s": round(sum(trial["seconds"] for trial in trials), 1),
        "trials": {state: states.count(state) for state in sorted(set(states))},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", default="sample://scenes", help="images; default: %(default)s")
    add("--trials", type=int, default=20, help="of each search; default: 20")
    add("--epochs", type=int, default=10, help="of each trial; default: 10")
    add("--image-size", type=int, default=64, help="pixels; default: 64")
    add("--space", default="", metavar="FILE", help="default: the tune component's")
    add("--seed", type=int, default=0, help="of searches, split and weights; default: 0")
    add("--folder", default=".visionloop/tuning", help="for all it makes; default: %(default)s")
    return parser
