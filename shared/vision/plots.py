"""Pictures that several components draw: confusion matrix, image grid, curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

GOOD, BAD, ACCENT, SOFT = "#1d7a4c", "#b3261e", "#1f6f8b", "#8894a3"


def confusion_matrix(matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Draw counts, coloured by share of the true class.

    matrix: int [classes, classes], rows are the true class.
    """
    side = max(4.0, 0.8 * len(classes) + 1.5)
    figure = Figure(figsize=(side, side * 0.9))
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=40, ha="right")
    axes.set_yticks(ticks, classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= 30:  # more would be unreadable
        for row, column in np.ndindex(matrix.shape):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    return figure


def image_grid(
    pictures: Sequence[npt.NDArray[np.uint8]],
    captions: Sequence[str],
    is_right: Sequence[bool] | None = None,
    columns: int = 8,
) -> Figure:
    """Draw small pictures with captions, green where right and red where wrong."""
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.45 * columns, 1.75 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for number, (axes, picture) in enumerate(zip(grid, pictures, strict=False)):
        axes.imshow(picture)
        colour = "black" if is_right is None else GOOD if is_right[number] else BAD
        axes.set_title(captions[number], fontsize=7, color=colour)
    figure.tight_layout()
    return figure


def curves(
    x: Sequence[float], lines: dict[str, Sequence[float]], x_label: str, y_label: str
) -> Figure:
    """Draw lines over a common x axis, with a legend and light grid."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    if len(lines) > 10:  # the default cycle would give two lines one colour
        axes.set_prop_cycle(color=colormaps["tab20"](range(20)))
    for name, values in lines.items():
        axes.plot(x, values, label=name, linewidth=1.8, marker="o" if len(x) < 12 else None)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, ncols=1 + len(lines) // 8)
    return figure
