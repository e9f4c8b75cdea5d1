"""Every gate can fail alone, and says so."""

from __future__ import annotations

import pytest

from components.evaluate.gates import gates

GOOD = {"accuracy": 0.95, "macro_f1": 0.94, "min_class_recall": 0.8, "regression": 0.0}
THRESHOLDS = {
    "min_accuracy": 0.9,
    "min_macro_f1": 0.9,
    "min_class_recall": 0.75,
    "max_regression": 0.01,
}


def test_a_good_model_passes_every_gate():
    checked = gates(GOOD, **THRESHOLDS)
    assert [gate.name for gate in checked] == list(THRESHOLDS)
    assert all(gate.has_passed for gate in checked)


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("accuracy", 0.8875, "accuracy 0.8875 >= 0.9: FAILED by 0.0125"),
        ("macro_f1", 0.5, "macro_f1 0.5000 >= 0.9: FAILED by 0.4000"),
        ("min_class_recall", 0.74, "min_class_recall 0.7400 >= 0.75: FAILED by 0.0100"),
        ("regression", 0.02, "regression 0.0200 <= 0.01: FAILED by 0.0100"),
    ],
)
def test_each_gate_fails_alone_and_names_value_and_threshold(metric, value, said):
    failed = [g for g in gates(GOOD | {metric: value}, **THRESHOLDS) if not g.has_passed]
    assert [gate.metric for gate in failed] == [metric]
    assert failed[0].describe() == said


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_value_at_its_threshold_passes(name):
    metric = {gate.name: gate.metric for gate in gates(GOOD, **THRESHOLDS)}[name]
    checked = gates(GOOD | {metric: THRESHOLDS[name]}, **THRESHOLDS)
    assert all(gate.has_passed for gate in checked)
