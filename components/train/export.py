"""Trained network to model bundle: TorchScript, proven against the eager model; then ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from components.train.export_onnx import export_onnx
from components.train.network import Classifier
from shared.component.files import atomic
from shared.vision.bundle import ONNX
from shared.vision.errors import BundleError
from shared.vision.script import load_script

# fp32 sums in another order; a wrong graph is off by whole units.
PARITY_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """What was written and how well it agrees.

    parity: largest absolute difference of logits, TorchScript against eager.
    onnx_parity: of logits, embeddings and probabilities, ONNX against TorchScript; None
        where there is no model.onnx.
    """

    parity: float
    embedding_size: int
    onnx_parity: float | None


class _Part(nn.Module):
    """A method as a module, for torch.jit.trace."""

    def __init__(self, owner: nn.Module, call: Callable[..., object]) -> None:
        super().__init__()
        self.owner, self.call = owner, call

    def forward(self, x: Tensor) -> object:
        return self.call(x)


class _Whole(nn.Module):
    """What model.ts is: two traced halves, so that attributions can look between them."""

    def __init__(self, features: torch.jit.ScriptModule, head: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        logits, embedding = self.head(features)
        return logits, embedding


def export(network: Classifier, samples: Tensor, folder: Path, onnx: bool = True) -> Exported:
    """Write model.ts, weights.safetensors and, where it agrees, model.onnx.

    samples: float32 [n >= 3, 3, S, S], normalised real images, on which TorchScript and
        the eager model are compared, at several batch sizes.
    onnx: whether to try model.onnx at all.
    Raises:
        BundleError: TorchScript's difference exceeds PARITY_TOLERANCE.
    """
    network = network.eval().cpu().float()
    if network.training:
        raise BundleError("train: the network is in training mode at export")
    with torch.no_grad(), warnings.catch_warnings():
        # Sizes become constants: they are the bundle's; the batch size is compared below.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        features = network.features(samples[:2])
        scripted = torch.jit.script(
            _Whole(
                torch.jit.trace(_Part(network.body, network.features), samples[:2]),
                torch.jit.trace(_Part(network.body, network.head), features),
            ).eval()
        )
    weights = {name: value.contiguous() for name, value in network.body.state_dict().items()}
    # Written by us: torch's own writer ends the process where the disk is full.
    _write(folder / "model.ts", scripted.save_to_buffer())
    _write(folder / "weights.safetensors", save(weights))
    script = folder / "model.ts"
    return Exported(
        parity=_parity(network, script, samples),
        embedding_size=_embedding_size(network, features),
        onnx_parity=export_onnx(network, samples, script, folder / ONNX) if onnx else None,
    )


def _write(path: Path, data: bytes) -> None:
    with atomic(path) as aside:
        aside.write_bytes(data)


@torch.inference_mode()
def _parity(network: Classifier, script: Path, samples: Tensor) -> float:
    """Compare what was saved, not what is in memory, at batch sizes 1, 3 and all."""
    loaded = load_script(script)
    difference = 0.0
    for size in (1, 3, len(samples)):
        for _ in range(2):  # the profiling executor rewrites the graph after the first calls
            answer = loaded(samples[:size])[0]
        gap = (answer - network(samples[:size])[0]).abs().max()
        difference = max(difference, float(gap))
    if not difference <= PARITY_TOLERANCE:  # also true for NaN
        raise BundleError(
            f"train: TorchScript and the eager model differ by {difference:.2g} in the logits "
            f"(at most {PARITY_TOLERANCE:g}); choose another model"
        )
    return difference


@torch.inference_mode()
def _embedding_size(network: Classifier, features: Tensor) -> int:
    return int(network.head(features)[1].shape[1])
