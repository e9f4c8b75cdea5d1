"""The averaged weights, which are validated and kept."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

TensorPairs = tuple[list[Tensor], list[Tensor]]


class WarmedAverage(WeightAveraging):
    """An exponential moving average that forgets its random start.

    After n updates the decay is (1 + n) / (10 + n), until it reaches `decay`.
    Source: TensorFlow's ExponentialMovingAverage, num_updates.

    Lightning swaps the weights for validation and keeps both in the checkpoint. The update is
    ours: torch's sorts all tensors anew at every step, which takes twenty times as long, and
    asks the device for the number of updates, which makes a GPU wait.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self._floats: TensorPairs | None = None
        self._counters: TensorPairs = ([], [])

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # where the module is not yet, but will be
        super().setup(trainer, module, stage)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, _o: object, _b: object, _number: int
    ) -> None:
        updates = trainer.global_step - 1
        if trainer.global_step == self._latest_update_step:
            return  # no step was made
        if self._floats is None:
            self._pair(module)
        self._update(updates)
        self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def _update(self, updates: int) -> None:
        if self._floats is None or self._average_model is None:
            raise RuntimeError("train: weights are averaged before they are known")
        kept = min(self._decay, (1 + updates) / (10 + updates)) if updates else 0.0
        torch._foreach_lerp_(*self._floats, 1 - kept)
        if self._counters[0]:  # of batch normalisation
            torch._foreach_copy_(*self._counters)
        self._average_model.n_averaged += 1

    def _pair(self, module: L.LightningModule) -> None:
        """Keep the tensors, averaged and current, in lists; they stay the same objects."""
        if self._average_model is None:
            raise RuntimeError("train: weights are averaged before the fit begins")
        averaged, current = self._average_model.module, module
        pairs = [
            (one.detach(), other.detach())
            for mine, theirs in (
                (averaged.parameters(), current.parameters()),
                (averaged.buffers(), current.buffers()),
            )
            for one, other in zip(mine, theirs, strict=True)
        ]
        floats = [pair for pair in pairs if torch.is_floating_point(pair[0])]
        counters = [pair for pair in pairs if not torch.is_floating_point(pair[0])]
        self._floats = [one for one, _ in floats], [other for _, other in floats]
        self._counters = [one for one, _ in counters], [other for _, other in counters]
