"""Pictures of a search show where its values lie."""

from __future__ import annotations

import io

import pytest
from matplotlib.patches import PathPatch

from shared.vision.search_plots import (
    Axis,
    Line,
    history,
    learning_curves,
    parallel_coordinates,
    shares,
)


def test_an_axis_places_choices_evenly_and_numbers_by_its_scale() -> None:
    choices = Axis("optimizer", choices=("a", "b"))
    assert [choices.place(name) for name in ("a", "b")] == [0.25, 0.75]
    decades = Axis("rate", low=0.001, high=0.1, is_log=True)
    assert [decades.place(v) for v in (0.001, "0.01", 0.1)] == pytest.approx([0, 0.5, 1])
    assert [text for _, text in decades.ticks()] == ["0.001", "0.01", "0.1"]
    even = Axis("decay", low=1, high=3)
    assert [even.place(v) for v in (1, 2, 3, 4)] == [0, 0.5, 1, 1], "outside is at the end"
    assert Axis("one", low=2, high=2).place(2) == 0


def test_parallel_coordinates_draw_a_line_a_trial_and_the_best_one_thickest() -> None:
    axes = [Axis("optimizer", ("a", "b")), Axis("rate", low=0.001, high=0.1, is_log=True)]
    lines = [
        Line({"optimizer": "a", "rate": "0.01"}, 0.5),
        Line({"optimizer": "b", "rate": "0.1"}, 0.9),
        Line({"optimizer": "b", "rate": "0.1"}, 0.95, is_whole=False),
    ]
    figure = parallel_coordinates(axes, lines, "f1")
    drawn = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    assert len(drawn) == 3
    thickest = max(drawn, key=lambda patch: patch.get_linewidth())
    assert thickest.get_path().vertices[-1, 1] == pytest.approx(1.0)
    said = {text.get_text() for text in figure.axes[0].texts}
    assert {"optimizer", "rate", "f1", "a", "b"} <= said
    figure.savefig(io.BytesIO())


def test_one_trial_is_a_picture_too() -> None:
    axes = [Axis("optimizer", ("a", "b"))]
    lone = parallel_coordinates(axes, [Line({"optimizer": "a"}, 0.5)], "f1")
    for figure in (lone, history([(1, 0.5, "complete")], "f1")):
        picture = io.BytesIO()
        figure.savefig(picture)
        assert picture.getvalue().startswith(b"\x89PNG")


def test_history_draws_the_best_so_far() -> None:
    values = [(1, 0.5, "complete"), (2, 0.4, "complete"), (3, 0.2, "pruned"), (4, 0.7, "complete")]
    best = history(values, "f1").axes[0].lines[0]
    assert list(best.get_ydata()) == [0.5, 0.5, 0.7]
    least = history(values, "loss", is_maximised=False).axes[0].lines[0]
    assert list(least.get_ydata()) == [0.5, 0.4, 0.4]


def test_learning_curves_name_each_kind_once() -> None:
    trials = [(f"trial {n}", [(1, 0.1 * n), (2, 0.2 * n)], "complete") for n in (1, 2)]
    trials += [("trial 3, the best", [(1, 0.9)], "best"), ("trial 4", [(1, 0.1)], "pruned")]
    figure = learning_curves(trials, "f1")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "complete",
        "trial 3, the best",
        "pruned",
    ]


def test_shares_stand_in_their_order() -> None:
    axes = shares({"a": 0.2, "b": 0.7, "c": 0.1}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a", "b"]
    assert [text.get_text() for text in axes.texts] == ["10%", "20%", "70%"]
