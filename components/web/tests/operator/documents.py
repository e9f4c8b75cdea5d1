"""What steps leave in S3, in small: the shapes are those of a real run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLASSES = ["forest", "sea"]
MATRIX = {"forest": {"forest": 8, "sea": 2}, "sea": {"forest": 1, "sea": 9}}
GATES = {
    "passed": False,
    "results": [
        {
            "name": "min_accuracy",
            "metric": "accuracy",
            "comparison": ">=",
            "threshold": 0.9,
            "value": 0.85,
            "passed": False,
            "message": "accuracy 0.8500 >= 0.9: FAILED by 0.0500",
        }
    ],
}
METRICS = {"accuracy": 0.85, "macro_f1": 0.84, "ece": 0.05, "temperature": 1.2}
REPORT: dict[str, Any] = {
    "metrics": METRICS,
    "gates": GATES,
    "test_images": 20,
    "test_fingerprint": "f" * 64,
    "golden_images": 12,
    "accuracy_interval_95": [0.7, 0.95],
    "champion": {
        "champion_accuracy": 0.8,
        "difference": 0.05,
        "interval": [-0.1, 0.2],
        "only_champion": 1,
        "only_challenger": 2,
    },
    "epsilons_of_255": [1.0, 2.0],
    "robustness": {
        "clean": 0.85,
        "images": 20,
        "corruptions": {"snow": [0.8, 0.7, 0.6, 0.5, 0.4], "rain": [0.8, 0.8, 0.7, 0.6, 0.6]},
        "attacked_clean": 0.9,
        "attacked_images": 10,
        "attacks": {"FGSM": [0.5, 0.2]},
    },
    "model": {
        "name": "tiny",
        "image_size": 32,
        "classes": 2,
        "dataset_fingerprint": "d" * 64,
        "code_version": "abc",
    },
}
STATISTICS = {"multiclass_classification_metrics": {"confusion_matrix": MATRIX}}
DATA = {
    "classes": CLASSES,
    "images": {
        "train": {"forest": 30, "sea": 20},
        "val": {"forest": 3, "sea": 2},
        "test": {"forest": 10, "sea": 10},
        "unlabelled": {"": 7},
    },
    "counts": {"quarantined": 2, "label_conflicts": 1, "leaks": 1, "duplicates": 1},
    "annotations": {"label": 4},
    "quarantined": [
        {"source": "train/sea/1.jpg", "reason": "truncated", "detail": "ends early"},
        {"source": "train/sea/2.jpg", "reason": "truncated", "detail": "ends early"},
    ],
    "label_conflicts": [
        [{"source": "train/sea/3.jpg", "class": "sea"}, {"source": "b.jpg", "class": "forest"}]
    ],
    "leaks": [{"train": "train/sea/4.jpg", "test": "test/sea/4.jpg", "exact": True}],
    "duplicates": [{"kept": "train/sea/5.jpg", "dropped": "train/sea/6.jpg"}],
}
_SHARE = {"hits": 32, "total": 45, "share": 0.711, "low": 0.566, "high": 0.823}
_NONE = {"hits": 0, "total": 0, "share": None, "low": 0.0, "high": 1.0}
MERGED = {
    "schema": 1,
    "labels": 117,
    "to_adjudicate": {"count": 3, "images": []},
    "images": {"label": 117, "audit": 45},
    "batches": [
        {"day": "2026-11-27", "images": 31, "shared": 22, "alpha": 0.5, "is_held": True},
        {"day": "2026-11-28", "images": 9, "shared": 2, "alpha": None, "is_held": False},
    ],
    "annotators": [
        {
            "name": "ada",
            "images": 90,
            "skipped": 2,
            "gold": _SHARE,
            "accepted": _SHARE,
            "with_suggestion": _SHARE,
            "blind": _NONE,
            "median_s": 3.4,
            "is_left_out": False,
            "warning": "accepts everything",
        }
    ],
    "audit": [
        {
            "model_version": "2",
            "drawn": 45,
            "accuracy": _SHARE,
            "held": 0,
            "unlabelled": 0,
            "led": 0,
            "by_class": {},
        }
    ],
}


def write(root: Path, uri: str, content: Any) -> None:
    """Put an object where VISIONLOOP_S3_ROOT has s3:// URIs; documents become JSON."""
    path = root / uri.removeprefix("s3://")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text)
