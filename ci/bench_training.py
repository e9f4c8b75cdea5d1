"""python -m ci bench_training: the train component's loop beside what its network alone can do.

One run, as JSON: images a second of the real loop (images decoded and augmented in workers)
and of two limits; where the seconds go; what checkpoints, figures and pictures cost; the time
to the first batch by phase. Rounds take turns, medians and extremes of them are printed.

Two limits, and both are printed. `same_threads` gives the bare network the threads that a
training has: the others belong to the loader's processes, which no training can do without.
That is the fair one: it asks what the loop adds. `all_cores` gives it the whole machine and no
loader: it asks what a machine would reach whose images cost nothing, which no loop can on a
CPU. Neither holds clipping, averaging of weights or validation, which the recipe asks for.

A limit runs at another minute than the loop. `network_of_loop` needs no second process: the
share of the loop's own seconds that forward, loss, backward and step take. Where other work
shares the machine it is the figure to trust, and so are core seconds before those on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci.bench import machine
from ci.component_runs import run_component
from ci.problems import REPOSITORY
from ci.training_probe import (
    CHECKPOINTS,
    FIGURES,
    PICTURES,
    VALIDATION,
)
from shared.component.errors import VisionloopError
from shared.component.progress import track
from shared.component.spec import load_spec
from shared.vision.dataset import Dataset

Json = dict[str, Any]
_SAMPLE = "sample://scenes?images=600&test=60"
_GOAL_OF_LIMIT, _GOAL_CHECKPOINTS = 0.9, 0.02
_NETWORK = ("forward and loss", "backward", "optimizer's step")
_DRAWINGS = 5  # of a long run; a short one as here draws after every epoch
_BESIDE_THE_LOOP = (VALIDATION, PICTURES, CHECKPOINTS)
_PHASES = (
    ("interpreter", "start"),
    ("imports", "interpreter"),
    ("data opened", "imports"),
    ("network built", "data opened"),
    ("samples, parameters", "network built"),
    ("trainer, loggers, sheets of samples", "fit called"),
    ("workers and their first batch", "first epoch"),
)


class ProbeError(VisionloopError):
    """A training or its limit did not run through."""


def main(argv: Sequence[str]) -> int:
    """Measure and print one JSON document."""
    arguments = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-training-") as scratch:
        document = measure(Path(scratch), arguments)
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def measure(folder: Path, arguments: argparse.Namespace) -> Json:
    """Return the document; the data set is prepared in `folder`."""
    dataset = _prepared(folder, arguments.data)
    images = len(dataset.split("train"))
    recipe = _recipe(arguments, len(dataset.classes))
    cores = len(os.sched_getaffinity(0))
    loops: list[Json] = []
    limits: dict[str, list[Json]] = {"same_threads": [], "all_cores": []}
    threads = {"same_threads": max(1, cores - max(1, cores // 2)), "all_cores": cores}
    for _ in track(range(arguments.rounds), arguments.rounds, "rounds"):
        for name, count in threads.items():
            limits[name].append(_probe(folder, "limit", recipe | {"threads": count}))
        told = {"dataset": dataset.folder, "onnx": "false", "epochs": arguments.epochs}
        told |= {n: v for n, v in recipe.items() if n not in ("classes", "seconds")}
        loops.append(_probe(folder, "loop", told | {"pretrained": "none"}))
    return {
        "machine": machine() | {"load_average": [round(each, 2) for each in os.getloadavg()]},
        "training": {**recipe, "epochs": arguments.epochs, "images": images, "threads": threads},
        "speed": _speed(loops, limits, images),
        "where_the_loop_spends_its_time": _shares(loops),
        "checkpoints": _checkpoints(loops),
        "telemetry": _telemetry(loops),
        "time_to_first_batch_s": _start(loops),
    }


def _speed(loops: Sequence[Json], limits: Mapping[str, list[Json]], images: int) -> Json:
    """Compare the loop with the limits round by round, since a slow minute slows both."""
    trained = [_steady_epochs(each) * images / _loop_s(each) for each in loops]
    a_core = [_steady_epochs(each) * images / _loop_s(each, "cpu") for each in loops]
    rates = {name: [each["images_per_s"] for each in found] for name, found in limits.items()}
    bare_core = [each["images_per_cpu_s"] for each in limits["same_threads"]]
    logged = [
        statistics.median(row["images_per_s"] for row in each["history"][1:]) for each in loops
    ]
    return {
        "images_per_s": {
            "loop": _spread(trained),
            "logged": _spread(logged),
            **{f"limit_{name}": _spread(values) for name, values in rates.items()},
        },
        "what": "loop: batches of the steady epochs, from the second on; logged: as the component "
        "says, its validation included; a limit: normalise, forward, loss, backward, step",
        **{f"loop_of_limit_{name}": _ratios(trained, values) for name, values in rates.items()},
        "loop_of_limit_same_threads_in_core_seconds": _ratios(a_core, bare_core),
        "network_of_loop": _spread([_network_share(each, "seconds") for each in loops]),
        "network_of_loop_in_core_seconds": _spread([_network_share(e, "cpu") for e in loops]),
        "goal_of_limit": _GOAL_OF_LIMIT,
    }


def _shares(loops: Sequence[Json]) -> Json:
    """Return the share of the training batches' time by what it goes to, and ms a batch."""
    names = sorted({name for each in loops for name in each["seconds"]} - {*_BESIDE_THE_LOOP})
    found = {}
    for name in names:
        shares = [each["seconds"].get(name, 0.0) / _loop_s(each) for each in loops]
        batches = [each["calls"]["forward and loss"] for each in loops]
        found[name] = {"share": _spread(shares)}
        for kind, label in (("seconds", "ms_a_batch"), ("cpu", "core_ms_a_batch")):
            spent = [1000 * each[kind].get(name, 0.0) for each in loops]
            found[name][label] = _ratios(spent, batches)
    return dict(sorted(found.items(), key=lambda item: -item[1]["share"]["median"]))


def _checkpoints(loops: Sequence[Json]) -> Json:
    """One is written a minute and at the end; here an epoch is much shorter than a minute."""
    once = [each["seconds"][CHECKPOINTS] / each["calls"][CHECKPOINTS] for each in loops]
    epochs = [statistics.median(each["epochs_s"]) for each in loops]
    total = [each["seconds"][CHECKPOINTS] / sum(each["epochs_s"]) for each in loops]
    return {
        "seconds_each": _spread(once),
        "written": [each["calls"][CHECKPOINTS] for each in loops],
        "share_of_the_epochs": _spread(total),
        "share_if_every_epoch_wrote_one": _ratios(once, epochs),
        "goal_share_of_an_epoch": _GOAL_CHECKPOINTS,
    }


def _telemetry(loops: Sequence[Json]) -> Json:
    """Return what figures cost each epoch, and pictures each time that they are drawn."""
    epochs = load_spec(REPOSITORY / "components" / "train").parameters["epochs"].default
    count = [_steady_epochs(each) for each in loops]
    figures = [each["seconds"].get(FIGURES, 0.0) for each in loops]
    drawing = [each["seconds"].get(PICTURES, 0.0) / n for each, n in zip(loops, count, strict=True)]
    bare = [
        sum(each["epochs_s"]) / n - mine
        for each, n, mine in zip(loops, count, drawing, strict=True)
    ]
    of_a_run = [
        _DRAWINGS * mine / (_DRAWINGS * mine + int(str(epochs)) * epoch)
        for mine, epoch in zip(drawing, bare, strict=True)
    ]
    return {
        "figures_s_an_epoch": _ratios(figures, count),
        "figures_share": _ratios(figures, [sum(each["epochs_s"]) for each in loops]),
        "pictures_s_a_drawing": _spread(drawing),
        f"pictures_share_of_{epochs}_epochs": _spread(of_a_run),
    }


def _start(loops: Sequence[Json]) -> Json:
    """Return seconds by phase; each ends where the next one begins."""
    moments = [each["moments"] for each in loops]
    ends = ("interpreter", "imports", "data opened", "network built", "fit called", "first epoch")
    found = {}
    for (name, start), end in zip(_PHASES, (*ends, "first batch"), strict=True):
        found[name] = _spread([each[end] - each[start] for each in moments])
    return {**found, "all": _spread([each["first batch"] - each["start"] for each in moments])}


def _loop_s(found: Json, kind: str = "seconds") -> float:
    seconds: dict[str, float] = found[kind]
    return sum(value for name, value in seconds.items() if name not in _BESIDE_THE_LOOP)


def _ratios(mine: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    return _spread([one / other for one, other in zip(mine, others, strict=True)])


def _network_share(found: Json, kind: str) -> float:
    return sum(float(found[kind][name]) for name in _NETWORK) / _loop_s(found, kind)


def _steady_epochs(found: Json) -> int:
    return len(found["epochs_s"])


def _spread(values: Sequence[float]) -> dict[str, float]:
    numbers = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: float(f"{value:.3g}") for name, value in numbers.items()}


def _probe(folder: Path, what: str, flags: Mapping[str, object]) -> Json:
    out = folder / "probe.json"
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    done = subprocess.run(
        [sys.executable, "-m", "ci.training_probe", what, str(out), *words],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProbeError(f"bench_training: {what} failed:\n{done.stderr[-2000:]}")
    found: Json = json.loads(out.read_text())
    return found


def _prepared(folder: Path, data: str) -> Dataset:
    if "://" not in data:
        data = str(Path(data).expanduser().absolute())
    run_component(folder, "fetch_data", train=data, raw="raw", labels="labels")
    run_component(folder, "preprocess", raw="raw", dataset="dataset", report="report")
    return Dataset.open(folder / "dataset")


def _recipe(arguments: argparse.Namespace, classes: int) -> Json:
    """Return the component's own defaults, but for what was asked."""
    ports = load_spec(REPOSITORY / "components" / "train").parameters
    names = ("model_name", "image_size", "batch_size", "optimizer")
    asked = {name: getattr(arguments, name) for name in names}
    recipe = {name: asked[name] or ports[name].default for name in names}
    return recipe | {"classes": classes, "seconds": arguments.seconds}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", default=_SAMPLE, help="images; default: %(default)s")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--epochs", type=int, default=6, help="of a training, the first does not count")
    add("--seconds", type=float, default=6.0, help="of a limit; default: %(default)s")
    for flag, kind in (("model-name", str), ("image-size", int), ("batch-size", int)):
        add(f"--{flag}", type=kind, help="default: the component's")
    add("--optimizer", help="default: the component's")
    return parser
