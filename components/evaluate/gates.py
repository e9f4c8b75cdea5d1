"""What a model must reach to be registered; the pipeline's condition reads the same scalars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """One threshold; `comparison` is `>=` or `<=`."""

    name: str
    metric: str
    comparison: str
    threshold: float
    value: float

    @property
    def has_passed(self) -> bool:
        if self.comparison == ">=":
            return self.value >= self.threshold
        return self.value <= self.threshold

    def describe(self) -> str:
        margin = abs(self.value - self.threshold)
        verdict = "passed" if self.has_passed else f"FAILED by {margin:.4f}"
        return f"{self.metric} {self.value:.4f} {self.comparison} {self.threshold:g}: {verdict}"


def gates(
    metrics: dict[str, float],
    *,
    min_accuracy: float,
    min_macro_f1: float,
    min_class_recall: float,
    max_regression: float,
) -> list[Gate]:
    """Hold the scalars against the thresholds."""
    return [
        Gate("min_accuracy", "accuracy", ">=", min_accuracy, metrics["accuracy"]),
        Gate("min_macro_f1", "macro_f1", ">=", min_macro_f1, metrics["macro_f1"]),
        Gate(
            "min_class_recall",
            "min_class_recall",
            ">=",
            min_class_recall,
            metrics["min_class_recall"],
        ),
        Gate("max_regression", "regression", "<=", max_regression, metrics["regression"]),
    ]
