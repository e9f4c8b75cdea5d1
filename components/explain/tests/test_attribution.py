"""Heatmaps show where a network looks, when it is known where it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.explain.attribution import METHODS, Explained, explain
from components.explain.faithfulness import faithfulness, forget, similarity
from shared.component.errors import UsageError
from shared.vision.script import load_script
from shared.vision.tests.factories import COLOURS, SIZE, SPEC, Head, Network, make_bundle
from shared.vision.transforms import normalise

REGION = slice(0, 3)
SEEN = REGION.stop * SIZE // 8  # pixels a side: the network's map has 8 cells


def explained(folder, network: nn.Module) -> Explained:
    return Explained(load_script(make_bundle(folder, network=network).script), 16).eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Explained:
    """A network that looks at the upper left corner alone."""
    return explained(tmp_path_factory.mktemp("b"), Network(sharpness=1.0, region=REGION))


@pytest.fixture(scope="module")
def image() -> Tensor:
    """A red image with a blue corner opposite to where the network looks."""
    generator = np.random.default_rng(0)
    pixels = np.array(COLOURS["red"]) + generator.normal(0, 25, (SIZE, SIZE, 3))
    pixels[SEEN:, SEEN:] = COLOURS["blue"]
    return torch.from_numpy(normalise(np.clip(pixels, 0, 255).astype(np.uint8), SPEC))


RED = sorted(COLOURS).index("red")


@pytest.mark.parametrize("method", ["integrated_gradients", "noise_tunnel", "occlusion"])
def test_heat_lies_where_the_network_looks(model, image, method):
    torch.manual_seed(0)
    heat = explain(model, method, image, RED)
    assert heat.shape == (SIZE, SIZE)
    assert heat.max() == 1.0
    assert heat.min() >= 0.0
    assert heat[:SEEN, :SEEN].sum() / heat.sum() > 0.8  # a window of occlusion reaches beyond
    assert heat[SEEN + 8 :, SEEN + 8 :].max() == 0.0


def test_grad_cam_lies_where_the_colour_is_that_decides(model, image):
    """It weighs channels, not places: only an image of two colours tells it where."""
    blue = image[:, -1:, -1:].expand_as(image).clone()
    blue[:, :SEEN, :SEEN] = image[:, :SEEN, :SEEN]
    heat = explain(model, "grad_cam", blue, RED)
    assert heat[:SEEN, :SEEN].sum() / heat.sum() > 0.8
    assert heat[SEEN + 4 :, SEEN + 4 :].max() == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_a_true_heatmap_beats_a_random_order(model, image, method):
    torch.manual_seed(0)
    found = faithfulness(model, image, RED, explain(model, method, image, RED))
    generator = np.random.default_rng(1)
    random = [
        faithfulness(model, image, RED, generator.random((SIZE, SIZE), dtype=np.float32))
        for _ in range(8)
    ]
    assert found.deletion < np.mean([r.deletion for r in random])
    assert found.insertion > np.mean([r.insertion for r in random])


def test_areas_are_those_of_the_trapezoids(model, image):
    """A constant probability p has the area p."""
    flat = faithfulness(model, torch.zeros_like(image), RED, np.zeros((SIZE, SIZE), np.float32))
    with torch.inference_mode():
        probability = float(model(torch.zeros_like(image)[None]).softmax(1)[0, RED])
    assert flat.deletion == pytest.approx(probability, abs=1e-6)
    assert flat.insertion == pytest.approx(probability, abs=1e-6)


def test_forgetting_keeps_the_values_and_changes_the_answers(tmp_path, image):
    script = make_bundle(tmp_path).script
    known, forgotten = load_script(script), forget(load_script(script), seed=1)
    for name, value in known.state_dict().items():
        other = forgotten.state_dict()[name]
        assert torch.equal(value.flatten().sort().values, other.flatten().sort().values)
    with torch.inference_mode():
        assert not torch.allclose(known(image[None])[0], forgotten(image[None])[0])
        again = forget(load_script(script), seed=1)
        assert torch.equal(again(image[None])[0], forgotten(image[None])[0])


def test_resemblance_is_one_for_equals_and_none_for_strangers_and_blanks():
    generator = np.random.default_rng(0)
    one, other = generator.random((2, SIZE, SIZE), dtype=np.float32)
    assert similarity(one, one) == pytest.approx(1.0)
    assert similarity(one, 1 - one) == pytest.approx(-1.0)
    assert abs(similarity(one, other)) < 0.25
    assert similarity(one, np.zeros_like(one)) == 0.0


def test_an_image_that_says_nothing_gives_a_blank_heatmap(tmp_path):
    deaf = Network()
    with torch.no_grad():
        deaf.head.weight.zero_()
    model = explained(tmp_path, deaf)
    assert explain(model, "integrated_gradients", torch.ones(3, SIZE, SIZE), 0).max() == 0.0


def test_an_unknown_method_lists_the_known_ones(model, image):
    with pytest.raises(UsageError, match="'lime' is unknown; choose from grad_cam"):
        explain(model, "lime", image, 0)


class Tokens(nn.Module):
    """Features as a transformer gives them: [B, tokens, channels]."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(2).transpose(1, 2)


class TokenHead(Head):
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        embedding = features.mean(dim=1)
        return nn.functional.linear(embedding, self.weight, self.bias), embedding


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = Tokens()
        self.head = TokenHead(1.0, slice(0, 8))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.head(self.features(images))
        return logits, embedding


def test_grad_cam_of_a_model_of_tokens_names_the_way_out(tmp_path, image):
    model = explained(tmp_path, Transformer())
    with pytest.raises(UsageError, match="leave grad_cam out of methods"):
        explain(model, "grad_cam", image, RED)
    assert explain(model, "integrated_gradients", image, RED).max() == 1.0
