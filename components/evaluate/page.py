"""The evaluation report: gates first, then why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from components.evaluate.calibration import Reliability
from components.evaluate.champion import Comparison
from components.evaluate.gates import Gate
from components.evaluate.robustness import EPSILONS
from components.evaluate.scores import Scores
from shared.vision.corruptions import SEVERITIES
from shared.vision.plots import ACCENT, SOFT, confusion_matrix, curves
from shared.vision.report import Report
from shared.vision.transforms import decode_pixels

if TYPE_CHECKING:
    from components.evaluate.component import Evaluation

_MISTAKES = 12


def write_page(folder: Path, evaluation: Evaluation, checked: list[Gate]) -> None:
    """Write report.json, report.html and pictures/ into `folder`."""
    scores = evaluation.scores
    low, high = scores.accuracy_interval
    failed = [gate for gate in checked if not gate.has_passed]
    report = Report(
        "Evaluation",
        f"{scores.accuracy:.1%} of {len(evaluation.split)} test images are classified rightly "
        f"(95 % interval {low:.1%} to {high:.1%}).",
    )
    _add_gates(report, checked, failed)
    _add_scores(report, evaluation)
    _add_mistakes(report, evaluation)
    _add_champion(report, evaluation.champion)
    _add_robustness(report, evaluation)
    _add_calibration(report, evaluation)
    report.write(folder, _document(evaluation, checked))


def _add_gates(report: Report, checked: list[Gate], failed: list[Gate]) -> None:
    section = report.section("Gates")
    if failed:
        section.verdict("Not good enough: " + "; ".join(g.describe() for g in failed), False)
    else:
        section.verdict("All gates passed: the model may be registered.", True)
    section.table(
        ["gate", "metric", "value", "", "threshold", "passed"],
        [(g.name, g.metric, g.value, g.comparison, g.threshold, g.has_passed) for g in checked],
    )


def _add_scores(report: Report, evaluation: Evaluation) -> None:
    scores = evaluation.scores
    section = report.section("On the frozen test set")
    section.figures(
        [
            ("Accuracy", f"{scores.accuracy:.1%}", f"{len(evaluation.split)} images"),
            ("Macro F1", f"{scores.macro_f1:.3f}", f"precision {scores.macro_precision:.3f}"),
            ("Weakest class", f"{scores.weakest.recall:.1%}", f"recall of {scores.weakest.name}"),
            ("AUROC", f"{scores.auroc:.3f}", "macro, one against the rest"),
            ("ECE", f"{evaluation.after.ece:.3f}", "after temperature scaling"),
        ]
    )
    section.table(
        ["class", "precision", "recall", "F1", "images"],
        [(c.name, c.precision, c.recall, c.f1, c.images) for c in scores.classes],
    )
    section.plot(
        confusion_matrix(scores.confusion, [c.name for c in scores.classes]),
        "Rows are the true class; the shade is the share of the row.",
        "confusion-matrix",
    )


def _add_mistakes(report: Report, evaluation: Evaluation) -> None:
    predictions, split = evaluation.predictions, evaluation.split
    wrong = np.flatnonzero(predictions.labels != split.labels)
    worst = wrong[np.argsort(-predictions.confidences[wrong])][:_MISTAKES]
    section = report.section("The surest mistakes")
    if not len(worst):
        section.text("There are none: every test image is classified rightly.")
        return
    section.text("Wrong answers given with the highest confidence; some may be wrong labels.")
    section.gallery(
        [
            (
                Image.fromarray(decode_pixels(split.read(int(i)), evaluation.info.transform)),
                f"says {split.classes[predictions.labels[i]]} ({predictions.confidences[i]:.0%}), "
                f"is {split.classes[split.labels[i]]}",
            )
            for i in worst
        ]
    )


def _add_champion(report: Report, champion: Comparison | str) -> None:
    section = report.section("Champion and challenger")
    if isinstance(champion, str):
        section.text(f"Not compared: {champion}.")
        return
    low, high = champion.interval
    section.text(
        f"The approved model is right on {champion.champion_accuracy:.1%} of the same images. "
        f"This one differs by {champion.difference:+.1%} (95 % paired bootstrap "
        f"{low:+.1%} to {high:+.1%}): it alone is right on {champion.only_challenger} images, "
        f"the approved model alone on {champion.only_champion}."
    )


def _add_robustness(report: Report, evaluation: Evaluation) -> None:
    robust = evaluation.robustness
    section = report.section("When photographs go wrong")
    section.figures(
        [
            ("Clean", f"{robust.clean:.1%}", f"same {robust.images} images"),
            ("Corrupted", f"{robust.mean_corruption_accuracy:.1%}", "mean of all kinds"),
            ("Kept", f"{robust.relative:.0%}", "of the clean accuracy"),
        ]
    )
    lines = {kind: [robust.clean, *values] for kind, values in robust.corruptions.items()}
    section.plot(
        curves([0, *SEVERITIES], lines, "severity (0: clean)", "accuracy"),
        "Accuracy as each kind of corruption grows.",
        "corruptions",
    )
    section.table(
        ["corruption", *map(str, SEVERITIES), "mean"],
        [(kind, *values, float(np.mean(values))) for kind, values in robust.corruptions.items()],
    )
    attacks = report.section("When somebody means harm")
    attacked = {n: [robust.attacked_clean, *v] for n, v in robust.attacks.items()}
    attacks.plot(
        curves([0, *EPSILONS], attacked, "largest change of a pixel, of 255", "accuracy"),
        f"Accuracy on {robust.attacked_images} images changed to mislead the model, by one step "
        "(FGSM) and by seven (PGD). Nothing was done against such attacks in training.",
        "attacks",
    )


def _add_calibration(report: Report, evaluation: Evaluation) -> None:
    section = report.section("Are the probabilities true?")
    section.text(
        f"A temperature of {evaluation.temperature:.2f}, fitted on validation images, takes the "
        f"expected calibration error from {evaluation.before.ece:.3f} to "
        f"{evaluation.after.ece:.3f}. It goes into the bundle; it changes no label."
    )
    section.plot(
        _diagram(evaluation.before, evaluation.after),
        "On the diagonal, of the answers given with 80 % confidence 80 % are right.",
        "reliability",
    )


def _diagram(before: Reliability, after: Reliability) -> Figure:
    figure = Figure(figsize=(7.2, 3.6))
    for axes, part, title in zip(
        figure.subplots(1, 2, sharey=True),
        (before, after),
        ("as trained", "calibrated"),
        strict=True,
    ):
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1)
        filled = part.images > 0
        axes.scatter(
            part.confidence[filled],
            part.accuracy[filled],
            s=12 + 200 * part.images[filled] / part.images.sum(),
            color=ACCENT,
        )
        axes.set_title(f"{title}: ECE {part.ece:.3f}", fontsize=10)
        axes.set_xlabel("confidence")
    figure.axes[0].set_ylabel("share right")
    figure.tight_layout()
    return figure


def _document(evaluation: Evaluation, checked: list[Gate]) -> dict[str, Any]:
    """Return report.json, opening with SageMaker's model-quality statistics."""
    scores, robust, champion = evaluation.scores, evaluation.robustness, evaluation.champion
    return {
        "multiclass_classification_metrics": model_quality(scores),
        "classes": [vars(score) for score in scores.classes],
        "scalars": evaluation.scalars(),
        "accuracy_interval_95": scores.accuracy_interval,
        "gates": [gate.describe() for gate in checked],
        "robustness": vars(robust),
        "epsilons_of_255": EPSILONS,
        "champion": vars(champion) if isinstance(champion, Comparison) else {"none": champion},
        "test_images": len(evaluation.split),
    }


def model_quality(scores: Scores) -> dict[str, Any]:
    """Return the layout that the registry shows as model quality.

    Source: "Model Quality Metrics" in the SageMaker guide, multiclass classification.
    """
    names = [score.name for score in scores.classes]
    share = np.array([score.images for score in scores.classes]) / scores.confusion.sum()

    def weighted(values: list[float]) -> dict[str, Any]:
        return {"value": float(np.dot(values, share)), "standard_deviation": "NaN"}

    return {
        "confusion_matrix": {
            true: {said: int(n) for said, n in zip(names, row, strict=True)}
            for true, row in zip(names, scores.confusion, strict=True)
        },
        "accuracy": {"value": scores.accuracy, "standard_deviation": "NaN"},
        "weighted_precision": weighted([s.precision for s in scores.classes]),
        "weighted_recall": weighted([s.recall for s in scores.classes]),
        "weighted_f1": weighted([s.f1 for s in scores.classes]),
    }
