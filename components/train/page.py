"""The training report: learning curves, augmented samples, what was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.train.callbacks import without_speed
from components.train.export import Exported
from components.train.fitting import Feeds, FitOptions, Fitted
from components.train.module import Recipe
from components.train.surroundings import surroundings
from shared.component.version import code_version
from shared.vision.plots import curves, image_grid
from shared.vision.report import Report


def write_page(
    folder: Path,
    feeds: Feeds,
    fitted: Fitted,
    recipe: Recipe,
    options: FitOptions,
    exported: Exported,
) -> None:
    """Write report.json and report.html into `folder`."""
    best = fitted.best
    onnx = "none" if exported.onnx_parity is None else f"{exported.onnx_parity:.1e}"
    report = Report(
        "Training",
        f"{options.model_name} at {feeds.transform.image_size} pixels learned from "
        f"{len(feeds.train)} images; the weights of epoch {best['epoch']:.0f} were kept.",
    )
    summary = report.section("The kept epoch, on the validation split")
    summary.figures(
        [
            ("Accuracy", f"{best['val_accuracy']:.1%}", f"{len(feeds.val)} images"),
            ("Macro F1", f"{best['val_f1']:.3f}", f"epoch {best['epoch']:.0f} of {recipe.epochs}"),
            ("Loss", f"{best['val_loss']:.3f}", f"training {best['train_loss']:.3f}"),
            ("TorchScript parity", f"{exported.parity:.1e}", "largest difference of a logit"),
            ("ONNX parity", onnx, "largest difference of any answer"),
        ]
    )
    _add_curves(report, fitted)
    _add_samples(report, feeds, options)
    chosen = report.section("What was chosen")
    settings = vars(options) | vars(recipe) | {"batch_size": feeds.batch_size}
    chosen.table(["parameter", "value"], [(name, str(value)) for name, value in settings.items()])
    around = surroundings(fitted.devices)
    again = report.section("What the same bundle takes again")
    again.text(
        "On a CPU, the same parameters, data, code (at the same place) and surroundings give the "
        "same bundle, byte by byte, interrupted or not. Another CPU, number of threads or version "
        "of a library sums in another order; on a GPU, so does every run. Another seed says how "
        "much of a result is chance: pipeline.py --seeds 3."
    )
    facts = {"data": feeds.data.info.fingerprint, "code": code_version("train")} | around
    again.table(["what", "value"], list(facts.items()))
    history, kept = ([without_speed(row) for row in rows] for rows in (fitted.history, [best]))
    report.write(
        folder, {"history": history, "best": kept[0], "surroundings": around} | vars(exported)
    )


def _add_curves(report: Report, fitted: Fitted) -> None:
    section = report.section("Learning curves")
    epochs = [row["epoch"] for row in fitted.history]
    for names, label in (
        (("train_loss", "val_loss"), "loss"),
        (("val_accuracy", "val_f1", "val_precision", "val_recall"), "score"),
    ):
        lines = {name: [row[name] for row in fitted.history] for name in names}
        caption = "The training loss includes augmentation, smoothing and class weights."
        section.plot(
            curves(epochs, lines, "epoch", label),
            caption if label == "loss" else "Scores of the averaged weights on validation images.",
            f"training-{label}",
        )


def _add_samples(report: Report, feeds: Feeds, options: FitOptions) -> None:
    section = report.section("What the network sees")
    pixels = feeds.augmented_samples().numpy()
    labels = feeds.train.labels[np.arange(len(pixels))]
    captions = [feeds.data.classes[label] for label in labels]
    section.plot(
        image_grid(list(pixels), captions),
        f"Training images under the policy '{options.augmentations}', drawn anew every epoch.",
        "augmented-samples",
    )
