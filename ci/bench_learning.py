"""python -m ci bench_learning: what people's labels are worth, chosen by doubt or by chance.

    python -m ci bench_learning --data intel-scenes.zip

A model trains on LABELLED images and looks at all others. Of these, the ones it is least sure
of are labelled (as the review queue asks), and, for comparison, as many drawn at random; the
model trains anew with either, for as many steps as the first, so that nothing differs but the
images. Test accuracy by number of labels and seed, as JSON and as a plot. Labels are the data
set's own: what is measured is the choice, not the annotators.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ci.bench import machine
from ci.component_runs import run_component
from shared.component.errors import InputError
from shared.component.files import write_json
from shared.component.progress import track
from shared.vision.bundle import open_bundle
from shared.vision.dataset import Dataset
from shared.vision.predictor import Predictor

_TRAINING = {"pretrained": "none", "learning_rate": "0.006", "onnx": "false", "workers": "1"}
_BATCH = 32
_STEP_IMAGES = 16  # of a training step
_POLICIES = ("least confidence", "random")


@dataclass(frozen=True)
class Bench:
    """folder: for all it makes, and resumes from; training: flags of the train component.

    steps: of every training. labelled: images from the start; more: how many are added.
    """

    folder: Path
    training: Mapping[str, str]
    steps: int
    labelled: int
    more: Sequence[int]

    def run(self, seed: int, files: Sequence[tuple[str, Path]], test: Path) -> dict[str, Any]:
        """Return test accuracies of one seed: {policy: {labels added: accuracy}}."""
        files = list(files)
        random.Random(seed).shuffle(files)  # noqa: S311 - which images were labelled first
        base, pool = files[: self.labelled], files[self.labelled :]
        place = self.folder / f"seed-{seed}"
        first = self._accuracy(place / "0", base, test, seed)
        doubt = _confidences(place / "0" / "model", [path for _, path in pool])
        by_doubt = [pool[index] for index in np.argsort(doubt, kind="stable")]
        found: dict[str, Any] = {name: {"0": first} for name in _POLICIES}
        for count in self.more:
            for name, order in zip(_POLICIES, (by_doubt, pool), strict=True):
                where = place / f"{name.split()[0]}-{count}"
                accuracy = self._accuracy(where, [*base, *order[:count]], test, seed)
                found[name][str(count)] = accuracy
        return found

    def _accuracy(
        self, place: Path, files: Sequence[tuple[str, Path]], test: Path, seed: int
    ) -> float:
        """Train on these files and return the share of test images that are answered right."""
        known = place / "accuracy.json"
        if known.exists():  # of an interrupted run
            return float(json.loads(known.read_text()))
        for name, path in files:
            link = place / "images" / "train" / name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.hardlink_to(path)
        if not (place / "images" / "test").exists():
            (place / "images" / "test").symlink_to(test)
        run_component(place, "fetch_data", train=place / "images", raw="raw", labels="labels")
        size = self.training["image_size"]
        run_component(
            place, "preprocess", raw="raw", dataset="dataset", report="report", image_size=size
        )
        epochs = max(1, round(self.steps * _STEP_IMAGES / len(files)))
        told = {**self.training, "seed": seed, "epochs": epochs}
        told |= {"dataset": "dataset", "model": "model"}
        run_component(place, "train", **told, logs="logs")
        accuracy = _test_accuracy(place / "model", place / "dataset")
        write_json(known, accuracy)
        return accuracy


def main(argv: Sequence[str]) -> int:
    """Measure every seed and print one JSON document."""
    arguments = _parser().parse_args(argv)
    folder = Path(arguments.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    training = {**_TRAINING, "image_size": str(arguments.image_size)}
    training["batch_size"] = str(_STEP_IMAGES)
    bench = Bench(folder, training, arguments.steps, arguments.labelled, arguments.more)
    files, test = _images(bench, arguments.data)
    began = time.monotonic()
    seeds = list(track(_seeds(bench, arguments.seeds, files, test), arguments.seeds, "seeds"))
    document = {
        "machine": machine(),
        "images": {"labelled": arguments.labelled, "others": len(files) - arguments.labelled},
        "training": {**training, "steps": arguments.steps},
        "test_accuracy": seeds,
        "mean": _means(seeds),
        "gain_of_doubt": _gain(seeds, arguments.more),
        "seconds": round(time.monotonic() - began),
    }
    write_json(folder / "learning.json", document)
    _plot(seeds, arguments.labelled, folder / "learning.png")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0


def _seeds(bench: Bench, count: int, files: Sequence[tuple[str, Path]], test: Path) -> Any:
    return (bench.run(seed, files, test) for seed in range(count))


def _images(bench: Bench, uri: str) -> tuple[list[tuple[str, Path]], Path]:
    """Fetch the data set; return its training files with their classes, and its test folder."""
    place = bench.folder / "all"
    place.mkdir(exist_ok=True)
    if "://" not in uri:
        uri = str(Path(uri).expanduser().absolute())
    run_component(place, "fetch_data", train=uri, raw="raw", labels="labels")
    train, test = place / "raw" / "train", place / "raw" / "test"
    if not test.is_dir():
        raise InputError(f"bench_learning: {uri} has no test folder; give a data set with one")
    files = [(path.parent.name, path) for path in sorted(train.glob("*/*")) if path.is_file()]
    if len(files) < bench.labelled + max(bench.more):
        raise InputError(f"bench_learning: {len(files)} images are too few; pass --labelled")
    return files, test


def _confidences(model: Path, paths: Sequence[Path]) -> list[float]:
    """Return the model's confidence in [0, 1] for each image; one it cannot read has 1."""
    with open_bundle(model) as bundle:
        predictor = Predictor(bundle)
        found: list[float] = []
        for start in range(0, len(paths), _BATCH):
            images = [path.read_bytes() for path in paths[start : start + _BATCH]]
            found += predictor.predict(images).confidences.tolist()
    return found


def _test_accuracy(model: Path, dataset: Path) -> float:
    with open_bundle(model) as bundle:
        test = Dataset.open(dataset).split("test")
        predictions = Predictor(bundle).predict_all(test.read, len(test))
    return round(float((predictions.labels == test.labels).mean()), 4)


def _means(seeds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return mean and sample standard deviation over the seeds, by policy and labels."""
    return {
        name: {count: _mean([seed[name][count] for seed in seeds]) for count in seeds[0][name]}
        for name in _POLICIES
    }


def _gain(seeds: Sequence[Mapping[str, Any]], more: Sequence[int]) -> dict[str, list[float]]:
    """Return mean and deviation of doubt minus chance, seed by seed: the pairs share a base."""
    doubt, chance = _POLICIES
    return {
        str(count): _mean([seed[doubt][str(count)] - seed[chance][str(count)] for seed in seeds])
        for count in more
    }


def _mean(values: Sequence[float]) -> list[float]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return [round(statistics.mean(values), 4), round(spread, 4)]


def _plot(seeds: Sequence[Mapping[str, Any]], labelled: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2))
    axes = figure.subplots()
    for name, colour in zip(_POLICIES, ("#2f6f9f", "#9aa5b1"), strict=True):
        counts = [labelled + int(count) for count in seeds[0][name]]
        for seed in seeds:
            axes.plot(counts, [100 * v for v in seed[name].values()], color=colour, alpha=0.3)
        means = [100 * value for value, _ in _means(seeds)[name].values()]
        axes.plot(counts, means, color=colour, linewidth=2, marker="o", label=name)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("test accuracy, %")
    axes.legend(title="chosen by")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", required=True, help="images with a test folder")
    add("--seeds", type=int, default=3, help="default: 3")
    add("--labelled", type=int, default=600, help="images labelled from the start; default: 600")
    add("--more", type=int, nargs="+", default=[150, 300], help="labels added; default: 150 300")
    add("--steps", type=int, default=2000, help="of each training; default: 2000")
    add("--image-size", type=int, default=64, help="pixels; default: 64")
    add("--folder", default=".visionloop/learning", help="for all it makes; default: %(default)s")
    return parser
