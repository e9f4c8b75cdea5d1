"""Attribution methods by name, on the bundle's TorchScript; all from captum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, LayerGradCam, NoiseTunnel, Occlusion
from torch import Tensor, nn

from shared.component.errors import UsageError

Heatmap = npt.NDArray[np.float32]  # [size, size], 0 where nothing speaks for the class, up to 1
Method = Callable[["Explained", Tensor, int], Tensor]
_NOISE_SAMPLES = 8
_NOISE_STDEV = 0.3  # of normalised pixels, about 15 % of their range: Smilkov et al., 2017
_OCCLUDED_SHARE = 6  # the window is a sixth of the side, moved by half of itself


class Explained(nn.Module):
    """The model as captum wants it: images to logits, its two halves as eager modules.

    integration_steps: of the integrated gradients.
    """

    def __init__(self, module: torch.jit.ScriptModule, integration_steps: int) -> None:
        super().__init__()
        self.features = _Eager(module.features)
        self.head = _Eager(module.head)
        self.integration_steps = integration_steps

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))[0]
        return logits


class _Eager(nn.Module):
    """A script module behind an eager one, on which captum may hang its hooks."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.script = script

    def forward(self, x: Tensor) -> Tensor:
        return self.script(x)


def explain(model: Explained, method: str, image: Tensor, target: int) -> Heatmap:
    """Return what speaks for class `target`, scaled to [0, 1].

    image: float32 [3, size, size], normalised.
    Raises:
        UsageError: no such method, or the model gives it nothing to work on.
    """
    if method not in METHODS:
        raise UsageError(f"explain: method '{method}' is unknown; choose from {', '.join(METHODS)}")
    batch = image.unsqueeze(0).clone().requires_grad_()
    attribution = METHODS[method](model, batch, target).detach()  # [1, C, size, size]
    heat = attribution.sum(dim=1)[0].clamp(min=0).numpy()
    peak = np.percentile(heat, 99.5)  # single bright pixels would darken all others
    return np.asarray(np.clip(heat / max(peak, 1e-12), 0, 1), dtype=np.float32)


def _grad_cam(model: Explained, batch: Tensor, target: int) -> Tensor:
    features = model.features(batch)
    if features.dim() != 4:
        raise UsageError(
            "explain: grad_cam needs a feature map, this model has tokens; leave grad_cam out of "
            "methods"
        )
    coarse = LayerGradCam(model, model.features).attribute(batch, target, relu_attributions=True)
    return F.interpolate(coarse, batch.shape[-2:], mode="bilinear", align_corners=False)


def _integrated_gradients(model: Explained, batch: Tensor, target: int) -> Tensor:
    return IntegratedGradients(model).attribute(
        batch, target=target, n_steps=model.integration_steps, internal_batch_size=32
    )


def _noise_tunnel(model: Explained, batch: Tensor, target: int) -> Tensor:
    """SmoothGrad over integrated gradients of fewer steps."""
    tunnel = NoiseTunnel(IntegratedGradients(model))
    return tunnel.attribute(
        batch,
        target=target,
        nt_type="smoothgrad",
        nt_samples=_NOISE_SAMPLES,
        stdevs=_NOISE_STDEV,
        n_steps=max(2, model.integration_steps // 4),
        internal_batch_size=32,
    )


def _occlusion(model: Explained, batch: Tensor, target: int) -> Tensor:
    window = max(4, batch.shape[-1] // _OCCLUDED_SHARE)
    stride = window // 2
    return Occlusion(model).attribute(
        batch,
        target=target,
        sliding_window_shapes=(batch.shape[1], window, window),
        strides=(batch.shape[1], stride, stride),
        perturbations_per_eval=32,
    )


METHODS: dict[str, Method] = {
    "grad_cam": _grad_cam,
    "integrated_gradients": _integrated_gradients,
    "noise_tunnel": _noise_tunnel,
    "occlusion": _occlusion,
}
