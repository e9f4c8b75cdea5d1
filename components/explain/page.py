"""The explanation report: a contact sheet, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from components.explain.attribution import Heatmap
from shared.vision.plots import ACCENT, BAD, GOOD, SOFT
from shared.vision.report import Report

if TYPE_CHECKING:
    from components.explain.component import Explanation

_TITLES = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "noise_tunnel": "noise tunnel",
    "occlusion": "occlusion",
}
# Above this a heatmap is more about the image than about the model.
_SUSPICIOUS_SIMILARITY = 0.5


def write_page(folder: Path, explanations: Sequence[Explanation], methods: list[str]) -> None:
    """Write report.json, report.html and pictures/ into `folder`."""
    report = Report(
        "Explanations",
        f"Where the model looks in {len(explanations)} test images: drawn over the classes, "
        "most surely wrong, and most unsure.",
    )
    for group in dict.fromkeys(e.group for e in explanations):
        chosen = [e for e in explanations if e.group == group]
        section = report.section(f"Images: {group}")
        section.plot(
            contact_sheet(chosen, methods),
            "Bright is what speaks for the class the model says; its answer stands on the left, "
            "in red where it is wrong.",
            f"contact sheet {group}",
        )
    _add_trust(report, explanations, methods)
    report.write(folder, _document(explanations, methods))


def contact_sheet(explanations: Sequence[Explanation], methods: list[str]) -> Figure:
    """Draw one row an image: the image, then its heatmap by every method."""
    columns = 1 + len(methods)
    figure = Figure(figsize=(1.9 * columns, 1.95 * len(explanations)))
    grid = figure.subplots(len(explanations), columns, squeeze=False)
    for row, explanation in zip(grid, explanations, strict=True):
        for axes in row:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].imshow(explanation.pixels)
        is_right = explanation.label == explanation.predicted
        said = f"{explanation.predicted} {explanation.confidence:.0%}"
        row[0].set_ylabel(
            said if is_right else f"{said}\nis {explanation.label}",
            fontsize=9,
            color=GOOD if is_right else BAD,
        )
        for axes, method in zip(row[1:], methods, strict=True):
            axes.imshow(overlay(explanation.pixels, explanation.heat[method]))
    for axes, method in zip(grid[0][1:], methods, strict=True):
        axes.set_title(_TITLES[method], fontsize=9)
    figure.tight_layout(pad=0.4)
    return figure


def overlay(pixels: np.ndarray, heat: Heatmap) -> np.ndarray:
    """Lay a heatmap over a darkened grey image: uint8 [size, size, 3]."""
    grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.45
    colour = colormaps["inferno"](heat)[..., :3] * 255
    strength = (0.75 * heat)[..., None]
    return np.clip(grey * (1 - strength) + colour * strength, 0, 255).astype(np.uint8)


def _add_trust(report: Report, explanations: Sequence[Explanation], methods: list[str]) -> None:
    section = report.section("May these pictures be believed?")
    section.text(
        "Deletion takes away the pixels a method calls important, most important first: the "
        "faster the probability falls (small area), the better. Insertion brings them back "
        "(large area is better). The random row is the measure to beat. The last column is the "
        "sanity check: how much a heatmap still resembles that of a model whose weights were "
        "shuffled; near 1 it would show the image and not the model."
    )
    rows: list[tuple[Any, ...]] = []
    for method in methods:
        figures = summary(explanations, method)
        rows.append((_TITLES[method], *figures.values()))
    chance = [e.chance for e in explanations]
    rows.append(
        (
            "random order",
            float(np.mean([c.deletion for c in chance])),
            float(np.mean([c.insertion for c in chance])),
            "",
        )
    )
    headers = ["method", "deletion (less is better)", "insertion (more is better)"]
    section.table([*headers, "resemblance to a shuffled model"], rows)
    suspicious = [
        _TITLES[m]
        for m in methods
        if summary(explanations, m)["random_similarity"] > _SUSPICIOUS_SIMILARITY
    ]
    if suspicious:
        section.verdict(
            "Read with care, it hardly depends on the model: " + ", ".join(suspicious), False
        )
    else:
        section.verdict("Every method's heatmaps change when the model loses its knowledge.", True)
    section.plot(_trust_plot(explanations, methods), "Mean areas over all images.", "faithfulness")


def summary(explanations: Sequence[Explanation], method: str) -> dict[str, float]:
    """Return the mean figures of one method over all images."""
    return {
        "deletion": float(np.mean([e.faithfulness[method].deletion for e in explanations])),
        "insertion": float(np.mean([e.faithfulness[method].insertion for e in explanations])),
        "random_similarity": float(np.mean([e.random_similarity[method] for e in explanations])),
    }


def _trust_plot(explanations: Sequence[Explanation], methods: list[str]) -> Figure:
    figure = Figure(figsize=(6.8, 0.55 * len(methods) + 1.3))
    axes = figure.subplots()
    places = np.arange(len(methods))
    figures = [summary(explanations, method) for method in methods]
    axes.barh(places - 0.18, [f["deletion"] for f in figures], 0.34, color=SOFT, label="deletion")
    axes.barh(
        places + 0.18, [f["insertion"] for f in figures], 0.34, color=ACCENT, label="insertion"
    )
    chance = [e.chance for e in explanations]
    axes.axvline(float(np.mean([c.deletion for c in chance])), color=SOFT, linestyle=":")
    axes.axvline(float(np.mean([c.insertion for c in chance])), color=ACCENT, linestyle=":")
    axes.set_yticks(places, [_TITLES[method] for method in methods])
    axes.set_xlabel("area under the probability curve (dotted: random order)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _document(explanations: Sequence[Explanation], methods: list[str]) -> dict[str, Any]:
    return {
        "methods": {method: summary(explanations, method) for method in methods},
        "chance": {
            "deletion": float(np.mean([e.chance.deletion for e in explanations])),
            "insertion": float(np.mean([e.chance.insertion for e in explanations])),
        },
        "images": [
            {
                "source": e.source,
                "group": e.group,
                "label": e.label,
                "predicted": e.predicted,
                "confidence": e.confidence,
                "faithfulness": {name: vars(value) for name, value in e.faithfulness.items()},
                "random_similarity": e.random_similarity,
            }
            for e in explanations
        ],
    }
