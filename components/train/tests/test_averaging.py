"""The average of the weights is the stated one, whatever is fast about it."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn

from components.train.averaging import WarmedAverage


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)


def averaged(decay, steps):
    """Average weights that are the step's number; return the average after each step."""
    model, average = Model(), WarmedAverage(decay)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), global_step=0
    )
    average.setup(trainer, model, "fit")
    found = []
    for step in range(1, steps + 1):
        trainer.global_step = step
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(step)
            model.norm.running_mean.fill_(step)
            model.norm.num_batches_tracked.fill_(step)
        average.on_train_batch_end(trainer, model, None, None, 0)
        copy = average._average_model.module
        values = {float(p.detach().max()) for p in copy.parameters()} | {
            float(copy.norm.running_mean.max())
        }
        assert max(values) == pytest.approx(min(values))
        assert int(copy.norm.num_batches_tracked) == step
        found.append(max(values))
    assert int(average._average_model.n_averaged) == steps
    return found


def test_it_is_the_sum_that_the_source_states():
    expected, value = [], None
    for updates, step in enumerate(range(1, 41)):
        kept = min(0.8, (1 + updates) / (10 + updates))
        value = step if value is None else kept * value + (1 - kept) * step
        expected.append(value)
    assert averaged(0.8, 40) == pytest.approx(expected)


def test_a_step_that_was_not_made_is_not_counted():
    model, average = Model(), WarmedAverage(0.9)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), global_step=1
    )
    average.setup(trainer, model, "fit")
    average.on_train_batch_end(trainer, model, None, None, 0)
    average.on_train_batch_end(trainer, model, None, None, 1)  # gradients were accumulated
    assert int(average._average_model.n_averaged) == 1
