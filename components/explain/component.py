"""Explain: a model and test images in, heatmaps and their trustworthiness out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from components.explain.attribution import METHODS, Explained, Heatmap, explain
from components.explain.faithfulness import (
    Faithfulness,
    faithfulness,
    forget,
    similarity,
)
from components.explain.page import write_page
from shared.component.errors import UsageError
from shared.component.progress import track
from shared.vision.bundle import open_bundle
from shared.vision.dataset import Dataset, Split, classes_in_turn
from shared.vision.predictor import Predictions, Predictor
from shared.vision.transforms import decode_pixels, normalise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explanation:
    """One image, explained for the class the model says.

    group: sample, most wrong or most unsure.
    pixels: uint8 [size, size, 3].
    heat: by method; faithfulness and random_similarity likewise.
    chance: deletion and insertion in a random order of pixels.
    """

    group: str
    source: str
    pixels: npt.NDArray[np.uint8]
    label: str
    predicted: str
    confidence: float
    heat: dict[str, Heatmap]
    faithfulness: dict[str, Faithfulness]
    random_similarity: dict[str, float]
    chance: Faithfulness


def run(
    *,
    dataset: Path,
    model: Path,
    images: int,
    methods: str,
    integration_steps: int,
    seed: int,
    report: Path,
) -> None:
    """Explain `images` test images with every method; write the report."""
    names = _method_names(methods)
    split = Dataset.open(dataset).split("test")
    with open_bundle(model) as bundle:
        predictor = Predictor(bundle)
        predictions = predictor.predict_all(split.read, len(split))
        chosen = choose(predictions, split.labels, images, seed)
        torch.manual_seed(seed)  # the noise tunnel draws
        ignorant = forget(Predictor(bundle).module, seed)
        explainer = _Explainer(
            predictor,
            split,
            predictions,
            names,
            Explained(predictor.module, integration_steps).eval(),
            Explained(ignorant, integration_steps).eval(),
            np.random.default_rng(seed),
        )
        explanations = [
            explainer.explain(index, group) for index, group in track(chosen, len(chosen), "images")
        ]
    write_page(report, explanations, names)
    log.info("explained %d images with %s", len(explanations), ", ".join(names))


def choose(
    predictions: Predictions, labels: npt.NDArray[np.int64], images: int, seed: int
) -> list[tuple[int, str]]:
    """Choose a third each: drawn over the classes, most wrong, most unsure; none twice."""
    third = max(1, images // 3)
    confidences = predictions.confidences
    wrong = np.flatnonzero(predictions.labels != labels)
    groups = {
        "most wrong": wrong[np.argsort(-confidences[wrong])],
        "most unsure": np.argsort(confidences),
        "sample": classes_in_turn(labels, seed),
    }
    taken: dict[int, str] = {}
    for group, ranked in groups.items():
        fresh = [int(i) for i in ranked if int(i) not in taken]
        wanted = images - len(taken) if group == "sample" else third
        taken |= dict.fromkeys(fresh[:wanted], group)
    order = {"sample": 0, "most wrong": 1, "most unsure": 2}
    return sorted(taken.items(), key=lambda item: order[item[1]])


@dataclass(frozen=True)
class _Explainer:
    """What stays the same from image to image."""

    predictor: Predictor
    split: Split
    predictions: Predictions
    methods: list[str]
    model: Explained
    ignorant_model: Explained
    generator: np.random.Generator

    @cached_property
    def sources(self) -> list[str]:
        return [record["source"] for record in self.split.records()]

    def explain(self, index: int, group: str) -> Explanation:
        pixels = decode_pixels(self.split.read(index), self.predictor.transform)
        image = torch.from_numpy(normalise(pixels, self.predictor.transform))
        target = int(self.predictions.labels[index])
        heat = {name: explain(self.model, name, image, target) for name in self.methods}
        other = {name: explain(self.ignorant_model, name, image, target) for name in self.methods}
        chance = self.generator.random(pixels.shape[:2], dtype=np.float32)
        return Explanation(
            group=group,
            source=self.sources[index],
            pixels=pixels,
            label=self.split.classes[self.split.labels[index]],
            predicted=self.split.classes[target],
            confidence=float(self.predictions.confidences[index]),
            heat=heat,
            faithfulness={n: faithfulness(self.model, image, target, heat[n]) for n in heat},
            random_similarity={n: similarity(heat[n], other[n]) for n in heat},
            chance=faithfulness(self.model, image, target, chance),
        )


def _method_names(methods: str) -> list[str]:
    names = [name.strip() for name in methods.split(",") if name.strip()]
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise UsageError(
            f"explain: parameter 'methods' is {methods!r}; choose from {', '.join(METHODS)}"
        )
    return names
