"""The figures of images: what counts as a change, which goal holds, what the table shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.bench_images import changed, size_goal_mb, table
from ci.images import Options, chosen, recipe_of
from ci.tests.engine_fake import FakeEngine


def test_a_source_change_is_one_line_of_the_components_own_code(farm: Path) -> None:
    [spec] = chosen(["sheep"], farm)
    recipe = recipe_of(spec, farm, FakeEngine(), Options())  # type: ignore[arg-type]
    other = changed(recipe)
    differing = [a.path for a, b in zip(recipe.files, other.files, strict=True) if a != b]
    assert differing == ["components/sheep/component.py"]
    assert other.name != recipe.name
    assert changed(recipe).name != other.name, "a second change would be answered from the cache"


@pytest.mark.parametrize(
    ("component", "packages", "goal"),
    [
        ("fetch_data", {"numpy"}, 350),
        ("preprocess", {"numpy", "opencv-python-headless"}, 700),
        ("inference", {"torch"}, 1800),
        ("train", {"torch", "timm"}, None),
        ("deploy", {"boto3"}, None),
    ],
)
def test_goals_are_the_issues(
    farm: Path, component: str, packages: set[str], goal: int | None
) -> None:
    [spec] = chosen(["sheep"], farm)
    object.__setattr__(spec, "name", component)
    assert size_goal_mb(spec, packages) == goal


def test_a_row_has_every_figure() -> None:
    figures = {
        "size_mb": 555,
        "goal_mb": 350,
        "base_mb": 393,
        "own_mb": 162,
        "largest_mb": {"numpy": 78, "botocore": 22, "pillow": 16, "pip": 13},
        "cold_s": 15.2,
        "changed_s": 0.5,
        "start": {"component_s": 0.21},
    }
    head, rule, row = table({"fetch_data": figures})
    assert row == (
        "| `fetch_data` | 555 | 350 | 393 | 162 | numpy 78, botocore 22, pillow 16 "
        "| 15.2 | 0.5 | 0.21 |"
    )
    assert head.count("|") == rule.count("|") == row.count("|")
