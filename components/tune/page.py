"""The report of a search: what was found, then how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.tune.record import Record, Trial
from shared.vision.dataset import DatasetInfo
from shared.vision.report import Report
from shared.vision.search_plots import (
    Axis,
    Line,
    history,
    learning_curves,
    parallel_coordinates,
    shares,
)


def write_page(
    folder: Path,
    record: Record,
    info: DatasetInfo,
    tested: Mapping[str, float],
    importance: Mapping[str, float],
    importance_trials: int,
    defaults: str,
    date: str,
) -> None:
    """Write report.json, report.html and pictures/ into `folder`.

    tested: the winner's figures on the test images. importance: empty where it is not shown.
    defaults: the text of defaults.yaml.
    """
    best = record.best
    report = Report("Hyperparameter search", _lead(record))
    _add_result(report, record, tested, info)
    _add_trials(report, record)
    _add_pictures(report, record)
    _add_importance(report, record, importance, importance_trials)
    _add_adoption(report, defaults)
    document = {
        "study": record.study,
        "job": record.job,
        "date": date,
        "objective": {"metric": record.metric, "maximise": record.is_maximised},
        "best": best.number,
        "before": record.baseline,
        "trials": [asdict(trial) for trial in record.trials],
        "space": [asdict(dimension) for dimension in record.space],
        "fixed": dict(record.fixed),
        "importance": dict(importance),
        "test_metrics": dict(tested),
        "dataset_fingerprint": info.fingerprint,
        "test_fingerprint": info.test_fingerprint,
    }
    report.write(folder, document)


def _lead(record: Record) -> str:
    best, before = record.best, record.before
    words = f"Of {len(record.trials)} trials number {best.number} is the best: "
    words += f"{record.metric} {best.value:.4f} on the validation images"
    if before is None:
        return f"{words}."
    if before.number == best.number:
        return f"{words}. It has the values from before: nothing better was found."
    return f"{words}; the values from before (trial {before.number}) reached {before.value:.4f}."


def _add_result(
    report: Report, record: Record, tested: Mapping[str, float], info: DatasetInfo
) -> None:
    section, best, counts = report.section("Result"), record.best, record.counts
    before = record.before
    is_better = before is None or before.number != best.number
    values = ", ".join(f"{name} {value}" for name, value in best.parameters.items())
    section.verdict(f"Best values: {values}.", is_better)
    seconds = sum(trial.seconds or 0.0 for trial in record.trials)
    gain = "" if before is None else f"{(best.value or 0) - (before.value or 0):+.4f} to before"
    lost = f"{counts['pruned']} pruned, {counts['failed']} failed"
    section.figures(
        [
            (record.metric, f"{best.value:.4f}", gain or f"trial {best.number}"),
            ("Trials", str(counts["complete"]), f"and {lost}"),
            ("Trained", _duration(seconds), "all trials together"),
            ("Test accuracy", f"{tested['accuracy']:.1%}", "of the winner alone"),
            ("Test macro F1", f"{tested['macro_f1']:.3f}", "of the winner alone"),
        ]
    )
    section.text(
        f"Trials were chosen by {record.metric} on {_images(info, 'val')} validation images. The "
        f"{_images(info, 'test')} test images were looked at once, for the winner: a search that "
        "chooses by them fits itself to them, and every later test figure would be too good. The "
        "best of many validation figures is a little too good for the same reason: expect less "
        "of the winner on new images, and compare it by its test figures."
    )
    if before is not None and is_better:
        section.table(
            ["parameter", "before", "found"],
            [(n, before.parameters[n], best.parameters[n]) for n in best.parameters],
        )


def _add_trials(report: Report, record: Record) -> None:
    section = report.section("All trials, the best first")
    names = [dimension.name for dimension in record.space]
    rows = []
    for rank, trial in enumerate(record.ranked, 1):
        shown = "" if trial.value is None else f"{trial.value:.4f}"
        said = trial.state + (f": {trial.reason}" if trial.reason else "")
        place = str(rank) if trial.state == "complete" else ""
        values = [trial.parameters[name] for name in names]
        rows.append((place, trial.number, shown, *values, _duration(trial.seconds), said))
    section.table(["rank", "trial", record.metric, *names, "time", "end"], rows)
    fixed = ", ".join(f"{name} {value}" for name, value in sorted(record.fixed.items()))
    section.text(
        f"Common to all: {fixed or 'nothing but the defaults'}. Search seed {record.seed}. A "
        "pruned trial was ended early, because it was worse than half of the others at the same "
        "epoch; its figure is the best it had reached, and is not ranked."
    )


def _add_pictures(report: Report, record: Record) -> None:
    section = report.section("How the search went")
    seen = [t for t in record.trials if t.value is not None and t.state != "failed"]
    section.plot(
        history(
            [(t.number, t.value or 0.0, t.state) for t in seen], record.metric, record.is_maximised
        ),
        "Each trial in its turn. The line is the best so far.",
        "history",
    )
    axes = [Axis(d.name, d.choices, d.low, d.high, d.is_log) for d in record.space]
    lines = [Line(t.parameters, t.value or 0.0, t.state == "complete") for t in seen]
    section.plot(
        parallel_coordinates(axes, lines, record.metric),
        "One line a trial, from its values to what they reached; dark is good, the thick one is "
        "the best. Faint lines were pruned. Where dark lines meet on an axis, that value is good.",
        "parallel-coordinates",
    )
    if any(trial.curve for trial in seen):
        section.plot(
            learning_curves([_curve(t, record) for t in seen if t.curve], record.metric),
            "After each epoch, on the validation images.",
            "learning-curves",
        )


def _curve(trial: Trial, record: Record) -> tuple[str, Any, str]:
    is_best = trial.number == record.best.number
    return f"trial {trial.number}, the best", trial.curve, "best" if is_best else trial.state


def _add_importance(
    report: Report, record: Record, importance: Mapping[str, float], least: int
) -> None:
    section = report.section("What mattered")
    complete = record.counts["complete"]
    if not importance:
        section.text(
            f"Not shown: {complete} trials ended with a value, and of fewer than {least} (or of "
            "equal ones) importance would be noise."
        )
        return
    section.plot(
        shares(importance),
        "Share of each parameter in what tells the best trials from all of them.",
        "importance",
    )
    section.text(
        f"By PED-ANOVA over {complete} trials: how differently the best tenth of the trials is "
        "spread over a parameter's values than all trials are. It says where the search made a "
        "difference within this space, not what a parameter is worth elsewhere; with few dozen "
        "trials small shares are chance."
    )


def _add_adoption(report: Report, defaults: str) -> None:
    section = report.section("Adopt it")
    section.text(
        "python pipeline.py --backend local --adopt EXECUTION makes these the defaults of the "
        "pipeline's parameters (defaults.yaml beside pipeline.py). They are good with what they "
        "were trained with; more epochs, other pixels or other weights ask for another search."
    )
    rows = [line.split(": ", 1) for line in defaults.splitlines() if line.startswith("  train.")]
    section.table(["parameter", "default"], rows)


def _images(info: DatasetInfo, split: str) -> int:
    return sum(info.counts.get(split, {}).values())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f}\u00a0s"
    return f"{seconds / 60:.0f}\u00a0min" if seconds < 7200 else f"{seconds / 3600:.1f}\u00a0h"
