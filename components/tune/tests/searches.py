"""Searches to report on, made by formula."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from shared.component.files import write_json

MODELS, OPTIMIZERS = ("small", "large"), ("adamw", "sgd")
RANGES = {
    "CategoricalParameterRanges": [
        {"Name": "model_name", "Values": list(MODELS)},
        {"Name": "optimizer", "Values": list(OPTIMIZERS)},
    ],
    "ContinuousParameterRanges": [
        {
            "Name": "learning_rate",
            "MinValue": "0.0001",
            "MaxValue": "0.1",
            "ScalingType": "Logarithmic",
        }
    ],
}


def trial(number: int, state: str = "complete", **more: Any) -> dict[str, Any]:
    """Return one trial; the learning rate alone decides how good it is, best at 0.003."""
    rate = 10 ** (-4 + 3 * (number * 0.618 % 1.0)) if number > 1 else 0.0001
    value = round(1 - abs(math.log10(rate) + 2.5) / 4, 4)
    curve = [[epoch, round(value * epoch / 4, 4)] for epoch in (1, 2, 3, 4)]
    body = {
        "number": number,
        "state": state,
        "value": value,
        "parameters": {
            "model_name": MODELS[number % 2],
            "optimizer": OPTIMIZERS[number // 2 % 2],
            "learning_rate": f"{rate:.6g}",
        },
        "curve": curve,
        "job": f"job-{number:03d}",
        "reason": "",
        "seconds": 10.0 * number,
    }
    if state == "pruned":
        body |= {"curve": curve[:2], "value": curve[1][1], "reason": "epoch 2: val_f1=0.1"}
    if state == "failed":
        body |= {"curve": [], "value": None, "reason": "train: out of memory"}
    return body | more


def search(*trials: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return trials.json."""
    complete = [each for each in trials if each["state"] == "complete"]
    best = max(complete, key=lambda each: each["value"])["number"] if complete else 0
    return {
        "schema_version": 1,
        "study": "0123456789abcdef",
        "job": "execution-Search",
        "component": "train",
        "objective": {"metric": "val_f1", "maximise": True},
        "ranges": RANGES,
        "fixed": {"epochs": "4", "image_size": "32", "pretrained": "none", "seed": "0"},
        "seed": 0,
        "code": "fedcba9876543210",
        "best": best,
        "baseline": 1,
        "trials": list(trials),
    } | more


def write_inputs(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Write what the component reads; return the keyword arguments of run()."""
    counts = {"train": {"a": 40}, "val": {"a": 7}, "test": {"a": 20}}
    info = {
        "schema_version": 1,
        "classes": ["a"],
        "counts": counts,
        "shards": {},
        "fingerprint": "f" * 64,
        "test_fingerprint": "e" * 64,
    }
    write_json(folder / "trials.json", document)
    write_json(folder / "dataset" / "dataset.json", info)
    figures = {"accuracy": 0.875, "macro_f1": 0.8125, "min_class_recall": 0.5, "ece": 0.1}
    write_json(folder / "metrics" / "evaluation.json", {"metrics": figures})
    for name in ("report", "defaults"):
        (folder / name).mkdir()
    return {
        "trials": str(folder / "trials.json"),
        "importance_trials": 12,
        **{n: folder / n for n in ("dataset", "metrics", "report", "defaults")},
    }
