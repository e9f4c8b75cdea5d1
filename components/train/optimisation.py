"""How fast what learns: parameter groups, peak learning rates, schedules.

The peak of the schedule is learning_rate x the devices' factor x the layer's factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

_FUSED = ("adam", "adamw")
Schedule = Callable[[int, int, int], float]


def optimizer_of(
    body: nn.Module, name: str, learning_rate: float, weight_decay: float, layer_decay: float
) -> Optimizer:
    """Return timm's optimizer `name` for a timm model.

    Norms, biases and what the model names itself have no weight decay. With layer_decay < 1
    a layer learns at layer_decay^n of the rate, n layers below the classifier (timm's groups;
    Clark et al., ELECTRA, 2020; Bao et al., BEiT, 2022).

    Raises:
        ValueError, AssertionError: timm has no such optimizer.
    """
    optimizer = create_optimizer_v2(
        body,
        name,
        lr=learning_rate,
        weight_decay=weight_decay,
        layer_decay=layer_decay if layer_decay < 1 else None,
        **_options(name),
    )
    for group in optimizer.param_groups:  # timm leaves this to its own schedulers
        group["lr"] = group["lr"] * group.get("lr_scale", 1.0)
    return optimizer


def _options(name: str) -> dict[str, bool]:
    """Use torch's fused step where it is to be had, four times as fast on a CPU.

    On a GPU it unscales gradients itself, and Lightning could not clip them.
    """
    return {"fused": True} if name in _FUSED and not torch.cuda.is_available() else {}


def schedule_of(optimizer: Optimizer, name: str, steps: int, warmup: int) -> LambdaLR:
    """Return the schedule `name` over `steps` steps, the first `warmup` of them rising."""
    shape = SCHEDULES[name]
    return LambdaLR(optimizer, lambda step: shape(step, steps, warmup))


def cosine_with_warmup(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate at `step`: linear up, cosine down to 0.

    Source: Loshchilov and Hutter, SGDR, 2017, without restarts.
    """
    if step < warmup:
        return constant_with_warmup(step, steps, warmup)
    return 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup)))


def linear_with_warmup(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate at `step`: linear up, linear down to 0."""
    if step < warmup:
        return constant_with_warmup(step, steps, warmup)
    return 1 - _progress(step, steps, warmup)


def constant_with_warmup(step: int, _steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate at `step`: linear up, then all of it."""
    return min(1.0, (step + 1) / (warmup + 1))


SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine_with_warmup,
    "linear": linear_with_warmup,
    "constant": constant_with_warmup,
}


def device_factor(rule: str, devices: int) -> float:
    """Return the factor of the learning rate where `devices` devices share a step.

    A step then sees `devices` times the images of one device. linear: Goyal et al., 2017,
    for SGD; sqrt: Malladi et al., 2022, for Adam and its kin; none: the rate stays.
    """
    return {"none": 1.0, "sqrt": math.sqrt(devices), "linear": float(devices)}[rule]


def _progress(step: int, steps: int, warmup: int) -> float:
    """Return how much of the schedule after the warm-up is over, 0 to 1."""
    return min((step - warmup) / max(1, steps - warmup), 1)
