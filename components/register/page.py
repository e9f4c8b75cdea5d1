"""The one report of a run: the verdict, then a chapter for every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.vision.bundle import BundleInfo
from shared.vision.dataset import DatasetInfo
from shared.vision.report import Report, bind


def write_page(
    page: Path,
    info: BundleInfo,
    data: DatasetInfo,
    evaluation: dict[str, Any],
    chapters: Sequence[Path],
) -> None:
    """Bind the steps' reports into `page`, opening with a summary.

    evaluation: what evaluation.json holds.
    """
    accuracy, images = evaluation["metrics"]["accuracy"], sum(data.counts["test"].values())
    bind(
        f"{info.model_name}: {accuracy:.1%} on {images} test images",
        f"A classifier of {len(info.classes)} classes, from its data to what it may be trusted "
        "with.",
        _summary(info, data, evaluation),
        chapters,
        page,
    )


def _summary(info: BundleInfo, data: DatasetInfo, evaluation: dict[str, Any]) -> Report:
    metrics = evaluation["metrics"]
    images = {split: sum(counts.values()) for split, counts in data.counts.items()}
    opening = Report("Summary", "")
    summary = opening.section("At a glance")
    has_passed = bool(evaluation["gates"]["passed"])
    summary.verdict(
        "The model passed its gates and waits for approval."
        if has_passed
        else "The model failed a gate.",
        has_passed,
    )
    summary.figures(
        [
            ("Test accuracy", f"{metrics['accuracy']:.1%}", f"{images['test']} frozen images"),
            ("Macro F1", f"{metrics['macro_f1']:.3f}", f"{len(info.classes)} classes"),
            ("Weakest class", f"{metrics['min_class_recall']:.1%}", "least recall"),
            (
                "Under corruption",
                f"{metrics['relative_corruption_accuracy']:.0%}",
                "of clean accuracy kept",
            ),
            ("Calibration", f"{metrics['ece']:.3f}", "expected calibration error"),
        ]
    )
    summary.table(
        ["", ""],
        [
            ("model", f"{info.model_name} at {info.transform.image_size} pixels"),
            ("classes", ", ".join(info.classes)),
            ("images", ", ".join(f"{split} {count}" for split, count in images.items())),
            ("data set", info.dataset_fingerprint[:16]),
            ("frozen test set", info.test_fingerprint[:16]),
            ("code", info.code_version),
        ],
    )
    return opening
