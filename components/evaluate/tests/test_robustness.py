"""Robustness: what is known to hold holds, what is known to break breaks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.evaluate.robustness import EPSILONS, Robustness, measure
from shared.vision.corruptions import KINDS, SEVERITIES
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import COLOURS, SIZE, make_bundle

LABELS = np.arange(12) % 3


class Brittle(nn.Module):
    """Tell a checkerboard from its negative, however faint: a pixel decides everything."""

    def __init__(self) -> None:
        super().__init__()
        board = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 * 2.0 - 1
        self.board = nn.Parameter(board)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        likeness = (images * self.board).mean(dim=(1, 2, 3))[:, None] * 100
        return torch.cat([likeness, -likeness], dim=1), likeness


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Robustness:
    generator = np.random.default_rng(0)
    base = np.array([COLOURS[name] for name in sorted(COLOURS)])[LABELS]
    noise = generator.normal(0, 20, (12, SIZE, SIZE, 3))
    pixels = np.clip(base[:, None, None] + noise, 0, 255).astype(np.uint8)
    predictor = Predictor(make_bundle(tmp_path_factory.mktemp("colours")))
    return measure(predictor, pixels, LABELS, 9, 0)


@pytest.fixture(scope="module")
def brittle(tmp_path_factory) -> Robustness:
    predictor = Predictor(
        make_bundle(tmp_path_factory.mktemp("b"), network=Brittle(), classes=("board", "negative"))
    )
    board = (np.indices((SIZE, SIZE)).sum(0) % 2 * 2 - 1)[..., None].repeat(3, 2)
    labels = np.arange(8) % 2
    pixels = np.stack([128 + 3 * (board if label == 0 else -board) for label in labels])
    return measure(predictor, pixels.astype(np.uint8), labels, 8, 0)


def test_every_kind_has_every_severity_and_every_attack_every_epsilon(colours):
    assert set(colours.corruptions) == set(KINDS)
    assert {len(values) for values in colours.corruptions.values()} == {len(SEVERITIES)}
    assert {name: len(values) for name, values in colours.attacks.items()} == {
        "FGSM": len(EPSILONS),
        "PGD": len(EPSILONS),
    }
    assert (colours.images, colours.attacked_images) == (12, 9)


def test_a_network_of_mean_colours_stands_what_keeps_the_colour(colours):
    assert colours.clean == 1.0
    for kind in ("gaussian blur", "pixelate", "rotation", "gaussian noise"):
        assert min(colours.corruptions[kind]) > 0.9, kind
    assert min(colours.attacks["FGSM"]) == 1.0  # 8 of 255 moves no colour to another
    figures = list(itertools.chain.from_iterable(colours.corruptions.values()))
    assert colours.relative == pytest.approx(np.mean(figures) / colours.clean)


def test_a_brittle_network_loses_everything_to_blur_and_attack(brittle):
    assert brittle.clean == 1.0
    assert brittle.corruptions["gaussian blur"][-1] <= 0.5
    assert brittle.attacks["FGSM"][:2] == [1.0, 1.0]  # less than the board's own contrast
    assert brittle.attacks["FGSM"][-2:] == [0.0, 0.0]
    assert brittle.attacks["PGD"][-2:] == [0.0, 0.0]


def test_a_stronger_attack_gains_no_accuracy(brittle):
    for values in brittle.attacks.values():
        assert all(later <= earlier for earlier, later in itertools.pairwise(values))


def test_the_same_seed_gives_the_same_figures(colours, tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    predictor = Predictor(make_bundle(tmp_path))
    first, second = (measure(predictor, pixels, LABELS[:6], 6, 3) for _ in range(2))
    assert first == second
