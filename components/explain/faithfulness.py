"""Is a heatmap about the model? Deletion, insertion, and a randomised model.

Deletion removes the pixels a heatmap calls important, most important first, and
watches the class's probability fall; insertion brings them back. A heatmap that knows
the model makes the first area small and the second large, against a random order.
Source: Petsiuk et al., RISE, 2018. The sanity check redoes the heatmap on a model with
random weights: one that stays the same shows the image, not the model.
Source: Adebayo et al., "Sanity Checks for Saliency Maps", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from torch import Tensor

from components.explain.attribution import Explained, Heatmap

_STEPS = 16
_COARSE = 16  # heatmaps are compared on a grid of so many cells a side


@dataclass(frozen=True)
class Faithfulness:
    """Areas under probability curves, each in [0, 1].

    deletion: smaller is better. insertion: larger is better.
    """

    deletion: float
    insertion: float


def faithfulness(model: Explained, image: Tensor, target: int, heat: Heatmap) -> Faithfulness:
    """Delete and insert the pixels of `image` in the order of `heat`.

    image: float32 [3, size, size], normalised; removed pixels become its mean colour.
    """
    order = np.argsort(-heat, axis=None, kind="stable")
    blank = image.mean(dim=(1, 2), keepdim=True).expand_as(image)
    deleted, inserted = [], []
    for step in range(_STEPS + 1):
        is_chosen = np.zeros(heat.size, dtype=bool)
        is_chosen[order[: heat.size * step // _STEPS]] = True
        mask = torch.from_numpy(is_chosen.reshape(heat.shape))
        deleted.append(torch.where(mask, blank, image))
        inserted.append(torch.where(mask, image, blank))
    with torch.inference_mode():
        probabilities = model(torch.stack(deleted + inserted)).softmax(1)[:, target].numpy()
    return Faithfulness(
        deletion=_area(probabilities[: _STEPS + 1]), insertion=_area(probabilities[_STEPS + 1 :])
    )


def similarity(one: Heatmap, other: Heatmap) -> float:
    """Return the rank correlation of two heatmaps on a coarse grid, in [-1, 1]."""
    a, b = _coarse(one), _coarse(other)
    if np.ptp(a) == 0 or np.ptp(b) == 0:  # a blank map resembles nothing
        return 0.0
    return float(spearmanr(a, b).statistic)


def forget(module: torch.jit.ScriptModule, seed: int) -> torch.jit.ScriptModule:
    """Shuffle the weights inside each tensor, in place: same values, no knowledge."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.state_dict().values():
            order = torch.randperm(value.numel(), generator=generator)
            value.copy_(value.flatten()[order].reshape(value.shape))
    return module


def _area(curve: npt.NDArray[np.float32]) -> float:
    """Return the area under a curve over [0, 1], by trapezoids."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def _coarse(heat: Heatmap) -> npt.NDArray[np.float32]:
    tensor = torch.from_numpy(heat)[None, None]
    pooled = torch.nn.functional.adaptive_avg_pool2d(tensor, _COARSE)
    return np.asarray(pooled.flatten().numpy())
