"""The Lightning module: loss, metrics, optimizer, schedule. The network is plain torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import lightning as L
import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from components.train.network import Classifier
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import normalisation

Batch = tuple[Tensor, Tensor]  # uint8 [B, size, size, 3], int64 [B]


@dataclass(frozen=True)
class Recipe:
    """How to optimise; one field per parameter of component.yaml."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    epochs: int
    label_smoothing: float
    mixup: float
    cutmix: float
    weighs_classes: bool


class TrainingModule(L.LightningModule):
    """Train a Classifier on batches of pixels.

    class_weights: float32 [classes], weights of the loss; ones for balanced data.
    """

    def __init__(
        self, network: Classifier, transform: TransformSpec, recipe: Recipe, class_weights: Tensor
    ) -> None:
        super().__init__()
        self.network, self.recipe = network.to(memory_format=torch.channels_last), recipe
        scale, offset = (torch.from_numpy(a).view(1, 3, 1, 1) for a in normalisation(transform))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.mix = _mix(recipe, len(class_weights))
        self.metrics = _metrics(len(class_weights))
        self.confusion = MulticlassConfusionMatrix(len(class_weights))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return float [B, 3, size, size]; the permuted pixels are channels-last already."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.offset

    def training_step(self, batch: Batch, _number: int) -> Tensor:
        images, labels = self.normalised(batch[0]), batch[1]
        if self.mix is not None:
            images, labels = self.mix(images, labels)  # labels become [B, classes]
        logits, _ = self.network(images)
        loss = F.cross_entropy(
            logits,
            labels,
            weight=self.class_weights,
            label_smoothing=self.recipe.label_smoothing,
        )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch, _number: int) -> None:
        logits, _ = self.network(self.normalised(batch[0]))
        loss = F.cross_entropy(logits, batch[1])
        self.metrics.update(logits, batch[1])
        self.confusion.update(logits, batch[1])
        self.log("val_loss", loss, batch_size=len(logits), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.metrics.compute())
        self.metrics.reset()
        self.confusion.reset()

    def configure_optimizers(self) -> dict[str, object]:
        recipe = self.recipe
        optimizer = create_optimizer_v2(
            self.network,
            recipe.optimizer,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = round(steps * min(recipe.warmup_epochs / recipe.epochs, 1))
        schedule = LambdaLR(optimizer, lambda step: cosine_with_warmup(step, steps, warmup))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "learning_rate"},
        }


def cosine_with_warmup(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate at `step`: linear up, cosine down to 0.

    Source: Loshchilov and Hutter, SGDR, 2017, without restarts.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


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
