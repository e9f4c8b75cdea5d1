"""Fine-tuning from a file of weights: what is frozen stays, what lies deeper learns slower."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import load_file

from components.train.network import Classifier
from components.train.optimisation import SCHEDULES, optimizer_of
from components.train.tests.options import train
from shared.vision.tests.factories import make_dataset

RECIPE = {"model_name": "test_resnet", "epochs": 1, "optimizer": "adamw"}
HEAD = "fc."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20)


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    """Weights of a model that has learned, as a bundle holds them."""
    folder = tmp_path_factory.mktemp("pretrained")
    return train(data, folder, **RECIPE) / "weights.safetensors"


def bodies(first, second):
    """Return pairs of tensors by name: of the body, of the head."""
    one, other = load_file(first), load_file(second)
    pairs = {name: (one[name], other[name]) for name in one if "num_batches" not in name}
    body = {name: pair for name, pair in pairs.items() if HEAD not in name}
    return body, {name: pair for name, pair in pairs.items() if HEAD in name}


def test_a_frozen_body_stays_as_it_was_while_the_classifier_learns(data, tmp_path, pretrained):
    options = RECIPE | {"pretrained": str(pretrained), "frozen_epochs": 1, "seed": 5}
    found = train(data, tmp_path, **options) / "weights.safetensors"
    body, head = bodies(pretrained, found)
    assert len(body) > 20
    assert all(torch.equal(*pair) for pair in body.values())  # running statistics too
    assert not any(torch.equal(*pair) for pair in head.values())


def test_all_learn_after_the_frozen_epochs(data, tmp_path, pretrained):
    options = RECIPE | {"pretrained": str(pretrained), "frozen_epochs": 1, "epochs": 2}
    found = train(data, tmp_path, **options) / "weights.safetensors"
    body, head = bodies(pretrained, found)
    assert not any(torch.equal(*pair) for pair in (body | head).values())


def test_layers_far_from_the_classifier_move_less(data, tmp_path, pretrained):
    moved = {}
    for decay in (1.0, 0.5):
        folder = tmp_path / str(decay)
        folder.mkdir()
        options = RECIPE | {"pretrained": str(pretrained), "layer_decay": decay, "weight_decay": 0}
        body, _ = bodies(pretrained, train(data, folder, **options) / "weights.safetensors")
        first = next(pair for name, pair in body.items() if name.endswith("conv1.0.weight"))
        moved[decay] = float((first[0] - first[1]).abs().mean())
    assert 0 < moved[0.5] < 0.5 * moved[1.0]


@pytest.mark.parametrize("model", ["test_resnet", "test_vit3", "mobilenetv3_small_050"])
def test_the_rate_falls_layer_by_layer(model):
    body = timm.create_model(model, num_classes=3)
    optimizer = optimizer_of(body, "adamw", 0.01, 0.05, 0.5)
    rate_of = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(rate_of) == len(list(body.parameters()))
    names = [name for name, _ in body.named_parameters()]
    rates = [rate_of[id(parameter)] for parameter in body.parameters()]
    assert rates[-1] == 0.01  # of the classifier
    assert rates[0] == min(rates) < 0.01 / 4
    assert rates == sorted(rates) or model == "test_vit3", names  # a ViT's tokens come first


def test_without_decay_all_learn_alike_and_norms_have_no_weight_decay():
    body = timm.create_model("test_vit3", num_classes=3)
    optimizer = optimizer_of(body, "adamw", 0.01, 0.05, 1.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}
    decayed = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    named = dict(body.named_parameters())
    assert {name for name in named if "norm" in name or name.endswith("bias")}.isdisjoint(
        name for name, parameter in named.items() if id(parameter) in decayed
    )
    assert id(named["pos_embed"]) not in decayed  # the model says so itself


def test_what_a_model_never_learns_stays_so_after_the_frozen_epochs():
    network = Classifier(timm.create_model("test_resnet", num_classes=3))
    fixed = next(network.body.parameters())
    fixed.requires_grad_(False)
    network = Classifier(network.body)
    network.freeze(True)
    assert not network.body.training
    learned = [name for name, p in network.body.named_parameters() if p.requires_grad]
    assert learned == ["fc.weight", "fc.bias"]
    network.freeze(False)
    assert network.body.training
    assert not fixed.requires_grad
    assert all(p.requires_grad for p in list(network.body.parameters())[1:])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_rises_to_its_peak_and_never_beyond(name):
    rates = [SCHEDULES[name](step, 100, 10) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1.0 if name == "constant" else 0.0)
