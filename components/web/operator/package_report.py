"""Read what `register` put beside a package: report.json and statistics.json.

Packages of older code say less; what is not there is left out, never an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from components.web.operator.package_records import (
    ClassScore,
    Comparison,
    Confusion,
    Figures,
    ModelFacts,
    Robustness,
)
from components.web.operator.runs import read_gates

Found = TypeVar("Found")
REPORT, STATISTICS, PAGE = "report.json", "statistics.json", "index.html"


def read_figures(report: bytes | None, statistics: bytes | None) -> Figures:
    """Return the figures of the two files; None: there is no such file."""
    said, counted = _document(report), _document(statistics)
    confusion = _part(_confusion, counted)
    interval = said.get("accuracy_interval_95")
    return Figures(
        metrics=_numbers(said.get("metrics")),
        gates=read_gates(report or b""),
        classes=_scores(confusion) if confusion else [],
        confusion=confusion,
        robustness=_part(_robustness, said),
        comparison=_part(_comparison, said),
        accuracy_interval=_part(lambda _: (float(interval[0]), float(interval[1])), said),
        golden_images=_part(lambda body: int(body["golden_images"]), said),
        test_images=_part(lambda body: int(body["test_images"]), said),
        test_fingerprint=str(said.get("test_fingerprint", "")),
        model=_part(_model, said),
    )


def _document(data: bytes | None) -> Mapping[str, Any]:
    try:
        document = json.loads(data or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _part(read: Callable[[Mapping[str, Any]], Found], body: Mapping[str, Any]) -> Found | None:
    """Return a part of a document, None where it is absent or damaged."""
    try:
        return read(body)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ValidationError):
        return None


def _numbers(metrics: Any) -> dict[str, float]:
    if not isinstance(metrics, dict):
        return {}
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def _confusion(body: Mapping[str, Any]) -> Confusion:
    matrix = body["multiclass_classification_metrics"]["confusion_matrix"]
    classes = list(matrix)
    rows = [[int(matrix[true].get(said, 0)) for said in classes] for true in classes]
    return Confusion(classes=classes, rows=rows)


def _scores(confusion: Confusion) -> list[ClassScore]:
    """Return each class's scores, which the confusion matrix tells."""
    scores = []
    for place, name in enumerate(confusion.classes):
        row = confusion.rows[place]
        right, images = row[place], sum(row)
        said = sum(other[place] for other in confusion.rows)
        scores.append(
            ClassScore(
                name=name,
                precision=right / said if said else 0.0,
                recall=right / images if images else 0.0,
                f1=2 * right / (images + said) if images + said else 0.0,
                images=images,
            )
        )
    return scores


def _robustness(body: Mapping[str, Any]) -> Robustness:
    return Robustness(**body["robustness"], epsilons=body["epsilons_of_255"])


def _comparison(body: Mapping[str, Any]) -> Comparison:
    said = body["champion"]
    if "none" in said:
        return Comparison(note=said["none"])
    return Comparison(**said)


def _model(body: Mapping[str, Any]) -> ModelFacts:
    return ModelFacts(**body["model"])
