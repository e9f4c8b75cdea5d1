"""What a person sees of a run: one log line an epoch, pictures in TensorBoard."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from components.train.module import Batch, TrainingModule
from shared.vision.plots import confusion_matrix, image_grid

log = logging.getLogger(__name__)
_LINE_INTERVAL_S = 2.0
_PICTURES_PER_RUN = 3  # drawing takes as long as a small epoch
_CURVES = ("train_loss", "val_loss", "val_accuracy", "val_f1", "val_precision", "val_recall")
SPEED = "images_per_s"


@dataclass
class History(Callback):
    """Keep the figures of every epoch; log one line `name=value` each.

    epochs: one mapping an epoch: epoch (from 1), learning_rate, images_per_s (of all devices;
        0 where the epoch was interrupted), curves.
    """

    images: int
    epochs: list[dict[str, float]] = field(default_factory=list)
    _started: float = 0.0
    _last_line: float = 0.0
    _loss: Tensor | None = None  # float64 [2]: of this epoch and device, summed loss and images

    def on_train_epoch_start(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        self._started = self._last_line = time.monotonic()
        self._loss = torch.zeros(2, dtype=torch.float64, device=module.device)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        _module: L.LightningModule,
        outputs: dict[str, Tensor],
        batch: Batch,
        number: int,
    ) -> None:
        if self._loss is None:
            raise RuntimeError("train: a batch ended that belongs to no epoch")
        loss, images = outputs["loss"].detach().double(), len(batch[0])
        self._loss = self._loss.to(loss.device)
        self._loss += torch.stack([loss * images, torch.full_like(loss, images)])
        now = time.monotonic()
        if now - self._last_line > _LINE_INTERVAL_S and not sys.stderr.isatty():
            self._last_line = now
            log.info("progress=%d/%d unit=batches", number + 1, trainer.num_training_batches)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        total, images = self._summed_loss(trainer).tolist()
        figures = {**trainer.callback_metrics, "train_loss": total / images}
        row = {name: float(figures[name]) for name in _CURVES}
        row["epoch"] = trainer.current_epoch + 1
        row["learning_rate"] = trainer.optimizers[0].param_groups[-1]["lr"]  # of the classifier
        elapsed_s = time.monotonic() - self._started
        row[SPEED] = self.images / elapsed_s if self._started else 0.0
        self.epochs.append(row)
        shown_elsewhere = {name: row[name] for name in ("train_loss", "learning_rate", SPEED)}
        module.log_dict(shown_elsewhere, rank_zero_only=True)
        shown = " ".join(f"{name}={row[name]:.4f}" for name in _CURVES)
        log.info(
            "epoch=%d/%d %s learning_rate=%.6f images_per_s=%.0f",
            row["epoch"],
            trainer.max_epochs,
            shown,
            row["learning_rate"],
            row[SPEED],
        )

    def _summed_loss(self, trainer: L.Trainer) -> Tensor:
        """Return float64 [2] over all devices, which must all ask."""
        if self._loss is None:
            raise RuntimeError("train: an epoch ended that never began")
        return trainer.strategy.reduce(self._loss.clone(), reduce_op="sum")  # type: ignore[return-value]

    def on_save_checkpoint(
        self, trainer: L.Trainer, _module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        loss = self._summed_loss(trainer).tolist()
        checkpoint["history"] = {"epochs": self.epochs, "loss": loss}

    def on_load_checkpoint(
        self, trainer: L.Trainer, _module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on; the first device takes what all had summed."""
        self.epochs = list(checkpoint["history"]["epochs"])
        loss = torch.tensor(checkpoint["history"]["loss"], dtype=torch.float64)
        self._loss = loss * trainer.is_global_zero


def without_speed(row: dict[str, float]) -> dict[str, float]:
    """Return the figures of an epoch that the same training has again; speed is of the hour."""
    return {name: value for name, value in row.items() if name != SPEED}


@dataclass
class TensorBoardPictures(Callback):
    """Add the augmentation sheet, the confusion matrix and sample predictions.

    augmented: uint8 [n, size, size, 3]; samples: a validation batch.
    """

    classes: tuple[str, ...]
    augmented: Tensor
    samples: Batch

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        if writer := _writer(trainer):
            sheet = self.augmented.permute(0, 3, 1, 2)
            writer.add_images("augmented samples", sheet)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, TrainingModule):
            raise TypeError(f"these pictures are of a TrainingModule, not {type(module).__name__}")
        step = trainer.current_epoch
        if not _is_shown(step, trainer.max_epochs or 1) or not (writer := _writer(trainer)):
            return
        matrix = module.confusion.compute().cpu().numpy().astype(np.int64)
        writer.add_figure("confusion matrix", confusion_matrix(matrix, self.classes), step)
        writer.add_figure("sample predictions", self._predictions(module), step)

    @torch.no_grad()
    def _predictions(self, module: TrainingModule) -> Figure:
        pixels, labels = self.samples
        logits, _ = module.network(module.normalised(pixels.to(module.device)))
        probabilities = logits.float().softmax(1).cpu()
        captions = [
            f"{self.classes[row.argmax()]} {row.max():.0%}\n(is {self.classes[label]})"
            for row, label in zip(probabilities, labels, strict=True)
        ]
        is_right = [
            int(row.argmax()) == int(label)
            for row, label in zip(probabilities, labels, strict=True)
        ]
        return image_grid(list(pixels.numpy()), captions, is_right)


def _is_shown(epoch: int, epochs: int) -> bool:
    """Say whether pictures are drawn: some three times a run, and at its end."""
    return (epoch + 1) % max(1, epochs // _PICTURES_PER_RUN) == 0 or epoch + 1 == epochs


def progress_bar() -> list[Callback]:
    """Return a bar where a terminal watches; elsewhere the log lines suffice."""
    return [RichProgressBar()] if sys.stderr.isatty() else []


def _writer(trainer: L.Trainer) -> SummaryWriter | None:
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            return logger.experiment
    return None
