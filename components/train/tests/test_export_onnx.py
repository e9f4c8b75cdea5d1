"""ONNX: the same answers as TorchScript, or no file and a reason in the log."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from components.train import export_onnx as module
from components.train.export import export
from components.train.export_onnx import ONNX_TOLERANCE, export_onnx
from components.train.network import build
from shared.vision.engines import open_session
from shared.vision.script import load_script

SIZE = 32


class Pooled(nn.Module):
    """A network that exports in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = images.mean((2, 3))
        return self.linear(embedding), embedding


class SingularValues(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.linalg.svdvals(images).mean(-1)
        return embedding, embedding


class Branching(nn.Module):
    """A decision on the values, which torch.export refuses and TorchScript takes."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = images.mean((2, 3))
        if bool(embedding.sum() > 0):
            embedding = embedding * 2
        return embedding, embedding


@pytest.fixture
def samples():
    return torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def script(network: nn.Module, folder):
    """Write model.ts of a network; return its path."""
    torch.jit.script(network.eval()).save(str(folder / "model.ts"))
    return folder / "model.ts"


@pytest.mark.training
@pytest.mark.parametrize(
    "name",
    # mobilenetv3 is trained and exported in test_training.
    ["resnet10t", "convnext_atto", "test_vit", "test_efficientnet"],
)
def test_families_answer_alike_through_onnx(name, tmp_path, caplog):
    caplog.set_level("INFO")
    torch.manual_seed(0)
    network = build(name, 3, SIZE, "none")
    images = torch.randn(5, 3, SIZE, SIZE)
    exported = export(network, images, tmp_path)
    assert exported.onnx_parity is not None
    assert exported.onnx_parity <= ONNX_TOLERANCE
    assert "exported in" in caplog.text
    session = open_session(tmp_path / "model.onnx", threads=1)
    for count in (1, 2, 5):
        with torch.inference_mode():
            expected = load_script(tmp_path / "model.ts")(images[:count])
        answer = session.run(None, {"images": images[:count].numpy()})
        for one, other in zip(expected, answer, strict=True):
            assert torch.allclose(one, torch.from_numpy(other), atol=ONNX_TOLERANCE)
    assert b".py" not in (tmp_path / "model.onnx").read_bytes()  # no path of this machine
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("network", "reason"),
    [(SingularValues(), "No ONNX function found for"), (Branching(), "data-dependent")],
    ids=["operation", "branch"],
)
def test_what_cannot_be_written_leaves_a_warning_and_no_file(
    network, reason, samples, tmp_path, caplog
):
    (tmp_path / "model.onnx").write_bytes(b"an earlier run's")
    path = script(network, tmp_path)
    assert export_onnx(network, samples, path, tmp_path / "model.onnx") is None
    assert [p.name for p in tmp_path.iterdir()] == ["model.ts"]
    assert reason in caplog.text
    assert "TorchScript serves" in caplog.text


def test_a_file_whose_weights_differ_leaves_a_warning_and_no_file(
    samples, tmp_path, caplog, monkeypatch
):
    network = Pooled()
    serialise = module._serialise

    def tampered(network: nn.Module, images: Tensor) -> bytes:
        proto = onnx.load_from_string(serialise(network, images))
        bias = next(i for i in proto.graph.initializer if i.dims == [4])
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.001, bias.name))
        return proto.SerializeToString()

    path = script(network, tmp_path)
    assert export_onnx(network, samples, path, tmp_path / "whole.onnx") < ONNX_TOLERANCE
    monkeypatch.setattr(module, "_serialise", tampered)
    assert export_onnx(network, samples, path, tmp_path / "model.onnx") is None
    assert not (tmp_path / "model.onnx").exists()
    assert "ONNX and TorchScript differ by 0.001" in caplog.text


def test_answers_that_are_no_numbers_are_no_parity(samples, tmp_path, caplog):
    network = Pooled()
    with torch.no_grad():
        network.linear.bias.fill_(float("nan"))
    path = script(network, tmp_path)
    assert export_onnx(network, samples, path, tmp_path / "model.onnx") is None
    assert "differ by nan" in caplog.text


def test_the_same_network_gives_the_same_bytes(samples, tmp_path):
    network = Pooled()
    path = script(network, tmp_path)
    for name in ("one", "two"):
        export_onnx(network, samples, path, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_weights_beyond_one_file_are_said_so(samples, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 10)
    path = script(Pooled(), tmp_path)
    assert export_onnx(Pooled().eval(), samples, path, tmp_path / "model.onnx") is None
    assert "do not fit one ONNX file" in caplog.text
