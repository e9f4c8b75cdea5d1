"""Evaluate: a model and the frozen test set in, scalars for the gates and a report out."""

from __future__ import annotations

import csv
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate.calibration import Reliability, fit_temperature, reliability
from components.evaluate.champion import Comparison, champion_answers, compare
from components.evaluate.gates import Gate, gates
from components.evaluate.page import write_page
from components.evaluate.robustness import Robustness, measure
from components.evaluate.scores import Scores, score
from shared.component.files import atomic, write_json
from shared.vision.bundle import BundleInfo, open_bundle
from shared.vision.dataset import Dataset, Split
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictions, Predictor
from shared.vision.transforms import decode_pixels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured.

    champion: the comparison, or the reason why there is none.
    """

    info: BundleInfo
    split: Split
    predictions: Predictions
    scores: Scores
    temperature: float
    before: Reliability
    after: Reliability
    robustness: Robustness
    champion: Comparison | str

    def scalars(self) -> dict[str, float]:
        """Return what the gates and the registry read."""
        regression = self.champion.regression if isinstance(self.champion, Comparison) else 0.0
        return {
            "accuracy": self.scores.accuracy,
            "macro_f1": self.scores.macro_f1,
            "macro_precision": self.scores.macro_precision,
            "macro_recall": self.scores.macro_recall,
            "min_class_recall": self.scores.weakest.recall,
            "auroc": self.scores.auroc,
            "ece": self.after.ece,
            "ece_uncalibrated": self.before.ece,
            "temperature": self.temperature,
            "relative_corruption_accuracy": self.robustness.relative,
            "regression": regression,
        }


def run(
    *,
    dataset: Path,
    model: Path,
    champion: str,
    min_accuracy: float,
    min_macro_f1: float,
    min_class_recall: float,
    max_regression: float,
    robustness_images: int,
    attack_images: int,
    bootstrap_samples: int,
    seed: int,
    metrics: Path,
    report: Path,
) -> None:
    """Measure `model` on the test split; write evaluation.json to `metrics`."""
    data = Dataset.open(dataset)
    with open_bundle(model) as bundle:
        predictor = Predictor(bundle)
        _check_same_test_set(bundle.info, data)
        evaluation = _evaluate(
            predictor,
            bundle.info,
            data,
            champion=champion,
            robustness_images=robustness_images,
            attack_images=attack_images,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        )
        checked = gates(
            evaluation.scalars(),
            min_accuracy=min_accuracy,
            min_macro_f1=min_macro_f1,
            min_class_recall=min_class_recall,
            max_regression=max_regression,
        )
        write_page(report, evaluation, checked)
    _write_predictions(report / "predictions.csv", evaluation)
    _write_metrics(metrics / "evaluation.json", evaluation, checked)
    scores = evaluation.scores
    log.info("test_accuracy=%.4f test_macro_f1=%.4f", scores.accuracy, scores.macro_f1)
    for gate in checked:
        log.info("gate %s: %s", gate.name, gate.describe())


def _evaluate(
    predictor: Predictor,
    info: BundleInfo,
    data: Dataset,
    *,
    champion: str,
    robustness_images: int,
    attack_images: int,
    bootstrap_samples: int,
    seed: int,
) -> Evaluation:
    test, validation = data.split("test"), data.split("val")
    predictions = predictor.predict_all(test.read, len(test))
    held_out = predictor.predict_all(validation.read, len(validation))
    temperature = fit_temperature(held_out.logits, validation.labels)
    chosen = np.random.default_rng(seed).permutation(len(test))[:robustness_images]
    pixels = np.stack([decode_pixels(test.read(int(i)), predictor.transform) for i in chosen])
    return Evaluation(
        info=info,
        split=test,
        predictions=predictions,
        scores=score(predictions, test.labels, data.classes, bootstrap_samples, seed),
        temperature=temperature,
        before=reliability(predictions.logits, test.labels, 1.0),
        after=reliability(predictions.logits, test.labels, temperature),
        robustness=measure(predictor, pixels, test.labels[chosen], attack_images, seed),
        champion=_compare(champion, test, predictions, bootstrap_samples, seed),
    )


def _compare(
    champion: str, test: Split, predictions: Predictions, samples: int, seed: int
) -> Comparison | str:
    if not champion:
        return "there is no approved model yet"
    answers = champion_answers(champion, test)
    if isinstance(answers, str):
        log.warning("no champion comparison: %s", answers)
        return answers
    return compare(answers, predictions.labels == test.labels, samples, seed)


def _check_same_test_set(info: BundleInfo, data: Dataset) -> None:
    """Refuse a model of another problem or one that was trained beside another test set."""
    if info.classes != data.classes:
        raise BundleError(
            f"evaluate: the model knows the classes {', '.join(info.classes)}, the data set has "
            f"{', '.join(data.classes)}; give the data set it was trained on"
        )
    if info.test_fingerprint != data.info.test_fingerprint:
        raise BundleError(
            "evaluate: the model was trained beside another test set, so its training images may "
            "be among these; give the data set it was trained on"
        )


def _write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write one line a test image, so that every figure can be recomputed."""
    classes, predictions = evaluation.info.classes, evaluation.predictions
    with atomic(path) as aside, aside.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sha256", "source", "label", "predicted", *map(_logit_column, classes)])
        rows = zip(evaluation.split.records(), predictions.labels, predictions.logits, strict=True)
        for record, predicted, logits in rows:
            writer.writerow(
                [
                    record["sha256"],
                    record["source"],
                    record["class_name"],
                    classes[predicted],
                    *(f"{value:.6f}" for value in logits),
                ]
            )


def _logit_column(name: str) -> str:
    return f"logit_{name}"


def _write_metrics(path: Path, evaluation: Evaluation, checked: list[Gate]) -> None:
    results: list[dict[str, Any]] = [
        asdict(gate) | {"passed": gate.has_passed, "message": gate.describe()} for gate in checked
    ]
    document = {
        "metrics": evaluation.scalars(),
        "gates": {"passed": all(gate.has_passed for gate in checked), "results": results},
        "test_images": len(evaluation.split),
        "test_fingerprint": evaluation.info.test_fingerprint,
    }
    write_json(path, document)
