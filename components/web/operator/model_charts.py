"""Charts and tables of one model: how it stands when photographs go wrong, and beside another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.web.operator import charts, words
from components.web.operator.charts import Axis, Chart, Line
from components.web.operator.package_records import Confusion, Figures, Robustness

_SAME = 5e-5  # nobody shows a figure so exactly
_SHADES = 9  # classes shade-0 to shade-9 of operator.css
# What is shown of a model, with what is better: 1 more, -1 less, 0 neither.
METRICS: Sequence[tuple[str, str, int, bool]] = (
    ("accuracy", "accuracy", 1, True),
    ("macro_f1", "macro F1", 1, False),
    ("min_class_recall", "recall of the weakest class", 1, True),
    ("macro_precision", "macro precision", 1, False),
    ("auroc", "AUROC", 1, False),
    ("ece", "calibration error (ECE)", -1, False),
    ("relative_corruption_accuracy", "accuracy kept under corruption", 1, True),
)


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix; shade: tenths of its row."""

    count: int
    shade: int
    is_right: bool


@dataclass(frozen=True)
class Compared:
    """A metric of two models; verdict: better, worse or "" where that cannot be said."""

    name: str
    this: str
    other: str
    difference: str
    verdict: str


def matrix(confusion: Confusion) -> list[tuple[str, list[Cell], int]]:
    """Return each true class with its row and how many images it has."""
    rows = []
    for place, (name, counts) in enumerate(zip(confusion.classes, confusion.rows, strict=True)):
        total = sum(counts)
        cells = [
            Cell(n, round(_SHADES * n / total) if total else 0, column == place)
            for column, n in enumerate(counts)
        ]
        rows.append((name, cells, total))
    return rows


def robustness_charts(robustness: Robustness) -> list[Chart]:
    """Return accuracy by severity of corruption, the worst kinds apart, and under attack."""
    kinds = sorted(robustness.corruptions.items(), key=lambda kind: sum(kind[1]))
    half = max(1, min(charts.STYLES, (len(kinds) + 1) // 2))
    found = []
    for title, part in (
        ("What harms most", kinds[:half]),
        ("What harms less", kinds[half : half + charts.STYLES]),
    ):
        lines = [Line(n, list(enumerate([robustness.clean, *values]))) for n, values in part]
        found.append(
            _accuracy(
                title,
                f"Accuracy on {robustness.images} test images as corruption grows.",
                lines,
                Axis(0, 5, [(n, str(n) if n else "clean") for n in range(6)], "severity"),
                1,
            )
        )
    attacks = [
        Line(name, list(enumerate([robustness.attacked_clean, *values])))
        for name, values in robustness.attacks.items()
    ]
    steps = [(0.0, "clean"), *((n, f"{e:g}") for n, e in enumerate(robustness.epsilons, 1))]
    found.append(
        _accuracy(
            "When somebody means harm",
            f"Accuracy on {robustness.attacked_images} images changed to mislead the model.",
            attacks,
            Axis(0, len(robustness.epsilons), steps, "largest change of a pixel, of 255"),
            1,
        )
    )
    return [chart for chart in found if not chart.is_empty]


def compare(this: Figures, other: Figures) -> list[Compared]:
    """Put the metrics of two models side by side."""
    rows = []
    for key, name, direction, is_share in METRICS:
        if key not in this.metrics or key not in other.metrics:
            continue
        mine, theirs = this.metrics[key], other.metrics[key]
        change = mine - theirs
        if abs(change) < _SAME:
            change = 0.0
        better = "better" if change * direction > 0 else "worse"
        difference = _difference(change, is_share)
        verdict = better if change else ""
        rows.append(
            Compared(name, shown(mine, is_share), shown(theirs, is_share), difference, verdict)
        )
    return rows


def _difference(change: float, is_share: bool) -> str:
    if not change:
        return "none"
    return f"{100 * change:+.1f} points" if is_share else f"{change:+.3f}"


def shown(value: float, is_share: bool) -> str:
    return words.percent(value) if is_share else words.number(value)


def _accuracy(title: str, description: str, lines: list[Line], x: Axis, step: float) -> Chart:
    return Chart(title, description, lines, x, charts.shares("accuracy"), step)
