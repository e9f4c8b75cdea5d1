"""The Lightning module: loss, metrics, optimizer, schedule. The network is plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from components.train.network import Classifier
from components.train.optimisation import device_factor, optimizer_of, schedule_of
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import normalisation

Batch = tuple[Tensor, Tensor]  # uint8 [B, size, size, 3], int64 [B]


@dataclass(frozen=True)
class Recipe:
    """How to optimise; one field per parameter of component.yaml."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    layer_decay: float
    schedule: str
    warmup_epochs: float
    frozen_epochs: int
    epochs: int
    label_smoothing: float
    mixup: float
    cutmix: float
    class_weights: bool
    lr_scaling: str


class TrainingModule(L.LightningModule):
    """Train a Classifier on batches of pixels.

    class_weights: float32 [classes], weights of the loss; ones for balanced data.
    seed: of dropout, mixup and the like; a step's random numbers follow from it, the epoch,
        the rank and the batch number, whatever was drawn before.
    """

    def __init__(
        self,
        network: Classifier,
        transform: TransformSpec,
        recipe: Recipe,
        class_weights: Tensor,
        seed: int,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.network, self.recipe = network.to(memory_format=torch.channels_last), recipe
        scale, offset = (torch.from_numpy(a).view(1, 3, 1, 1) for a in normalisation(transform))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.mix = _mix(recipe, len(class_weights))
        self.metrics, self.loss = _metrics(len(class_weights)), MeanMetric()
        self.confusion = MulticlassConfusionMatrix(len(class_weights))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return float [B, 3, size, size]; the permuted pixels are channels-last already."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.offset

    def on_train_batch_start(self, _batch: Batch, number: int) -> None:
        key = (self.seed, self.current_epoch, self.global_rank, number)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        self.network.freeze(self.current_epoch < self.recipe.frozen_epochs)

    def training_step(self, batch: Batch, _number: int) -> Tensor:
        images, labels = self.normalised(batch[0]), batch[1]
        if self.mix is not None:
            images, labels = self.mix(images, labels)  # labels become [B, classes]
        logits, _ = self.network(images)
        return F.cross_entropy(
            logits,
            labels,
            weight=self.class_weights,
            label_smoothing=self.recipe.label_smoothing,
        )

    def validation_step(self, batch: Batch, _number: int) -> None:
        logits, _ = self.network(self.normalised(batch[0]))
        loss = F.cross_entropy(logits, batch[1])
        self.metrics.update(logits, batch[1])
        self.confusion.update(logits, batch[1])
        self.loss.update(loss, len(logits))  # Lightning's own mean forgets the ranks' sizes

    def on_validation_epoch_end(self) -> None:
        self.log_dict({**self.metrics.compute(), "val_loss": self.loss.compute()})
        self.metrics.reset()
        self.loss.reset()
        self.confusion.reset()

    def configure_optimizers(self) -> dict[str, object]:
        recipe = self.recipe
        factor = device_factor(recipe.lr_scaling, self.trainer.world_size)
        optimizer = optimizer_of(
            self.network.body,
            recipe.optimizer,
            factor * recipe.learning_rate,
            recipe.weight_decay,
            recipe.layer_decay,
        )
        # Lightning's own count would begin an epoch before the checkpoint says which.
        each = self.trainer.datamodule.steps_per_epoch  # type: ignore[attr-defined]
        warmup = round(each * min(recipe.warmup_epochs, recipe.epochs))
        schedule = schedule_of(optimizer, recipe.schedule, each * recipe.epochs, warmup)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "learning_rate"},
        }


def _mix(recipe: Recipe, classes: int) -> nn.Module | None:
    mixers: list[nn.Module] = []
    if recipe.mixup:
        mixers.append(MixUp(alpha=recipe.mixup, num_classes=classes))
    if recipe.cutmix:
        mixers.append(CutMix(alpha=recipe.cutmix, num_classes=classes))
    return RandomChoice(mixers) if mixers else None


def _metrics(classes: int) -> MetricCollection:
    return MetricCollection(
        {
            "val_accuracy": MulticlassAccuracy(classes, average="micro"),
            "val_f1": MulticlassF1Score(classes, average="macro"),
            "val_precision": MulticlassPrecision(classes, average="macro"),
            "val_recall": MulticlassRecall(classes, average="macro"),
        }
    )
