"""Networks: any timm model, weights only from where they were asked for."""

from __future__ import annotations

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from components.train.export import PARITY_TOLERANCE, export
from components.train.network import build, transform_spec
from shared.component.errors import InputError, UsageError
from shared.vision.errors import BundleError
from shared.vision.script import load_script

TINY = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(TINY, 3, 32, "none")


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UsageError, match=r"nearest: .*mobilenetv3_small_050"):
        build("mobilenetv3_smal_050", 3, 32, "none")


def test_training_starts_in_training_mode(network):
    assert all(module.training for module in network.modules())


def test_an_unreachable_hub_is_an_error_and_never_a_random_start(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="set PretrainedWeights to a file"):
        build("mobilenetv3_small_075", 3, 32, "hub")


def test_weights_come_from_a_file_and_only_the_classifier_is_new(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(network.body.state_dict(), path)
    loaded = build(TINY, 5, 32, str(path)).body.state_dict()
    own = network.body.state_dict()
    same = [
        name
        for name in own
        if torch.equal(own[name], loaded[name].reshape(loaded[name].shape))
        and own[name].shape == loaded[name].shape
    ]
    assert {name.split(".")[0] for name in own if name not in same} == {"classifier"}


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"other": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="holds no weights of"):
        build(TINY, 3, 32, str(path))


def test_the_bundle_carries_the_models_own_mean_and_std(network):
    config = network.body.pretrained_cfg
    spec = transform_spec(network, 32)
    assert (spec.mean, spec.std) == (tuple(config["mean"]), tuple(config["std"]))


@pytest.mark.parametrize("name", [TINY, "resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_torchscript_answers_like_the_eager_model(name, tmp_path):
    torch.manual_seed(0)
    network = build(name, 3, 64, "none")
    samples = torch.randn(5, 3, 64, 64)
    exported = export(network, samples, tmp_path, onnx=False)
    assert exported.parity <= PARITY_TOLERANCE
    assert exported.onnx_parity is None
    with torch.inference_mode():
        logits, embedding = load_script(tmp_path / "model.ts")(samples)
        assert torch.allclose(logits, network.body(samples), atol=PARITY_TOLERANCE)
    assert embedding.shape == (5, exported.embedding_size)


def test_a_script_that_answers_otherwise_is_refused(network, tmp_path, monkeypatch):
    import components.train.export as module

    monkeypatch.setattr(module, "PARITY_TOLERANCE", -1.0)
    with pytest.raises(BundleError, match="differ by"):
        export(network, torch.randn(3, 3, 32, 32), tmp_path)
