"""python -m ci bench_recipes: what each part of the training recipe gives or costs.

    python -m ci bench_recipes --data intel-scenes.zip

Trains the default recipe and, for each part, the recipe with this part changed, from a random
start with every seed, which also draws the validation split. Reports validation macro F1 and
its difference from the default recipe, seed by seed (a pair shares its split), as JSON, as a
table for components/train/README.md and as a picture. The test split is not looked at: defaults
are chosen by this. Finished trainings are kept in --folder; an interrupted bench goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ci.bench import machine
from ci.component_runs import run_component
from shared.component.files import write_json
from shared.component.progress import track

BASE = "default"
# What is changed from the default recipe, by the name shown.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    BASE: {},
    "augmentations none": {"augmentations": "none"},
    "augmentations light": {"augmentations": "light"},
    "augmentations strong": {"augmentations": "strong"},
    "augmentations realworld": {"augmentations": "realworld"},
    "no weight averaging": {"ema_decay": 0},
    "mixup 0.2": {"mixup": 0.2},
    "no label smoothing": {"label_smoothing": 0},
    "schedule constant": {"schedule": "constant"},
}
_FIXED = {"pretrained": "none", "onnx": "false", "workers": "0"}


def main(argv: Sequence[str]) -> int:
    """Measure every variant with every seed and print one JSON document."""
    arguments = _parser().parse_args(argv)
    folder = Path(arguments.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    training = {
        **_FIXED,
        "model_name": arguments.model,
        "image_size": arguments.image_size,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate,
    }
    began = time.monotonic()
    _datasets(folder, arguments)
    jobs = [(name, seed) for seed in range(arguments.seeds) for name in VARIANTS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        scores = pool.map(lambda job: _score(folder, training, *job), jobs)
        found = dict(zip(jobs, track(scores, len(jobs), "trainings"), strict=True))
    rows = _rows(found, arguments.seeds)
    document = {
        "machine": machine(),
        "training": {**training, "val_fraction": arguments.val_fraction},
        "seeds": arguments.seeds,
        "validation_macro_f1": rows,
        "seconds": round(time.monotonic() - began),
    }
    write_json(folder / "recipes.json", document)
    (folder / "recipes.md").write_text(_table(rows))
    _plot(rows, folder / "recipes.png")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def _datasets(folder: Path, arguments: argparse.Namespace) -> None:
    """Fetch once and split once a seed."""
    uri = arguments.data
    if "://" not in uri:
        uri = str(Path(uri).expanduser().absolute())
    if not (folder / "raw").exists():
        run_component(folder, "fetch_data", train=uri, raw="raw", labels="labels")
    for seed in range(arguments.seeds):
        place = _place(folder, seed)
        if not (place / "dataset" / "dataset.json").exists():
            run_component(
                place,
                "preprocess",
                raw=folder / "raw",
                dataset="dataset",
                report="report",
                image_size=arguments.image_size,
                val_fraction=arguments.val_fraction,
                seed=seed,
            )


def _place(folder: Path, seed: int) -> Path:
    place = folder / f"seed-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _score(folder: Path, training: Mapping[str, object], name: str, seed: int) -> float:
    """Train one variant and return the validation macro F1 of the epoch that was kept."""
    told = {**training, **VARIANTS[name], "seed": seed}
    place = _place(folder, seed) / name.replace(" ", "-")
    place.mkdir(exist_ok=True)
    known = place / "score.json"
    if known.exists() and (document := json.loads(known.read_text()))["told"] == told:
        return float(document["val_f1"])  # of an interrupted bench
    run_component(place, "train", **told, dataset="../dataset", model="model", logs="logs")
    bundle = json.loads((place / "model" / "bundle.json").read_text())
    write_json(known, {"told": told, "val_f1": bundle["metrics"]["val_f1"]})
    return float(bundle["metrics"]["val_f1"])


def _rows(found: Mapping[tuple[str, int], float], seeds: int) -> list[dict[str, Any]]:
    """Return a row a variant, the best first: mean, and the paired difference with its spread."""
    rows = []
    for name in VARIANTS:
        scores = [found[name, seed] for seed in range(seeds)]
        gains = [found[name, seed] - found[BASE, seed] for seed in range(seeds)]
        rows.append(
            {
                "variant": name,
                "mean": round(statistics.mean(scores), 4),
                "by_seed": [round(score, 4) for score in scores],
                "gain": round(statistics.mean(gains), 4),
                "gain_by_seed": [round(gain, 4) for gain in gains],
                "gain_error": round(_error(gains), 4),
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| recipe | macro F1 | gain | of each seed |", "| --- | --- | --- | --- |"]
    for row in rows:
        gain = "" if row["variant"] == BASE else f"{row['gain']:+.1%} ± {row['gain_error']:.1%}"
        each = ", ".join(f"{gain:+.1%}" for gain in row["gain_by_seed"])
        each = "" if row["variant"] == BASE else each
        lines.append(f"| {row['variant']} | {row['mean']:.1%} | {gain} | {each} |")
    return "\n".join(lines) + "\n"


def _plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    shown = [row for row in reversed(rows) if row["variant"] != BASE]
    figure = Figure(figsize=(6, 0.32 * len(shown) + 1))
    axes = figure.subplots()
    for place, row in enumerate(shown):
        axes.scatter([100 * g for g in row["gain_by_seed"]], [place] * len(row["gain_by_seed"]),
                     color="#9aa5b1", s=14, zorder=2)  # fmt: skip
        axes.errorbar(100 * row["gain"], place, xerr=100 * row["gain_error"], fmt="o",
                      color="#2f6f9f", capsize=3, zorder=3)  # fmt: skip
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [row["variant"] for row in shown])
    axes.set_xlabel("validation macro F1 against the default recipe, points")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", required=True, help="images to learn from")
    add("--seeds", type=int, default=3, help="default: 3")
    add("--model", default="mobilenetv3_small_050", help="default: %(default)s")
    add("--epochs", type=int, default=16, help="of each training; default: 16")
    add("--batch-size", type=int, default=16, help="default: 16")
    add("--learning-rate", type=float, default=0.006, help="default: 0.006, for a random start")
    add("--image-size", type=int, default=64, help="pixels; default: 64")
    add("--val-fraction", type=float, default=0.3, help="validation share; default: 0.3")
    add("--jobs", type=int, default=1, help="trainings at a time; default: 1")
    add("--folder", default=".visionloop/recipes", help="for all it makes; default: %(default)s")
    return parser
