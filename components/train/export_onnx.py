"""Trained network to ONNX, proven against TorchScript; where that fails TorchScript serves."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from shared.component.files import atomic
from shared.vision.engines import open_session
from shared.vision.errors import BundleError
from shared.vision.predictor import softmax
from shared.vision.script import load_script

if TYPE_CHECKING:
    import onnxruntime

log = logging.getLogger(__name__)
# fp32 sums in another order; a wrong graph is off by whole units.
ONNX_TOLERANCE = 1e-4
_MOST_BYTES = 2 * 10**9  # a protobuf message, which the file is, ends at 2 GiB


def export_onnx(network: nn.Module, samples: Tensor, script: Path, path: Path) -> float | None:
    """Write the network to `path`, unless its export or its parity fails: then a warning.

    network: in evaluation mode on the CPU, float32 [B, 3, S, S] -> (logits, embeddings).
    samples: float32 [n >= 3, 3, S, S], normalised real images.
    script: the TorchScript it has to agree with.
    Returns: largest absolute difference of logits, embeddings and probabilities; None where
        there is no file.
    """
    began = time.monotonic()
    path.unlink(missing_ok=True)  # an earlier run's
    try:
        data = _serialise(network, samples)
        with atomic(path) as aside:
            aside.write_bytes(data)
            difference = _parity(script, aside, samples)
    except (torch.onnx.OnnxExporterError, BundleError) as err:
        log.warning("no model.onnx, TorchScript serves: %s", _reason(err))
        return None
    log.info(
        "model.onnx: %.1f MB, onnx_parity=%.2g, exported in %.1f s",
        len(data) / 1e6,
        difference,
        time.monotonic() - began,
    )
    return difference


def _serialise(network: nn.Module, samples: Tensor) -> bytes:
    size = sum(value.nbytes for value in network.state_dict().values())
    if size > _MOST_BYTES:
        raise BundleError(f"train: {size / 1e9:.1f} GB of weights do not fit one ONNX file")
    with warnings.catch_warnings():
        # torch warns of deprecations in its own internals.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            network,
            (samples[:2],),  # with one image torch would take the batch size for a constant
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits", "embeddings"],
            external_data=False,
            verbose=False,
        )
    proto = program.model_proto
    _strip(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _strip(proto: Any) -> None:
    """Take out where each node came from: stack traces name files of this machine."""
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        parts = [graph, *graph.node, *graph.value_info]
        if graph is proto.graph:
            parts += [*graph.input, *graph.output, *graph.initializer]
        for part in parts:
            part.ClearField("metadata_props")
            part.ClearField("doc_string")


@torch.inference_mode()
def _parity(script: Path, path: Path, samples: Tensor) -> float:
    """Compare what was saved at batch sizes 1, 3 and all.

    Raises:
        BundleError: ONNX Runtime cannot read the file, or the difference exceeds
            ONNX_TOLERANCE.
    """
    loaded, session = load_script(script), open_session(path)
    difference = 0.0
    for size in (1, 3, len(samples)):
        expected = [part.numpy() for part in loaded(samples[:size])]
        answer = _ask(session, samples[:size])
        expected.append(softmax(expected[0]))
        answer.append(softmax(answer[0]))
        for one, other in zip(expected, answer, strict=True):
            # A shape that differs would be broadcast; the maximum of a NaN is NaN.
            gap = np.abs(one - other).max() if one.shape == other.shape else np.inf
            difference = float(np.maximum(difference, gap))
    if not difference <= ONNX_TOLERANCE:  # also true for NaN
        raise BundleError(
            f"train: ONNX and TorchScript differ by {difference:.2g} (at most {ONNX_TOLERANCE:g})"
        )
    return difference


def _ask(session: onnxruntime.InferenceSession, images: Tensor) -> list[np.ndarray]:
    return list(session.run(["logits", "embeddings"], {"images": images.numpy()}))


def _reason(err: BaseException) -> str:
    """Return the first line of the first cause; the exporter wraps it in advice."""
    while err.__cause__ is not None and not isinstance(err, BundleError):
        err = err.__cause__
    return str(err).strip().partition("\n")[0]
