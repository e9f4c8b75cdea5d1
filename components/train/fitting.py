"""Fit: data to the module, the trainer, checkpoints, loggers."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import albumentations as A
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor

from components.train.callbacks import History, TensorBoardPictures, progress_bar
from components.train.loader import (
    BatchKey,
    EpochBatches,
    OrderedBatches,
    TrainingBatches,
    loader,
)
from components.train.module import Batch, Recipe, TrainingModule
from shared.component.errors import UsageError
from shared.component.layout import Layout
from shared.vision.dataset import Dataset, Split
from shared.vision.errors import DatasetError
from shared.vision.transform_spec import TransformSpec

log = logging.getLogger(__name__)
TensorList = tuple[Tensor, ...] | list[Tensor]
_SHOWN_IMAGES = 24
_MASTER_PORT = "29500"  # torch's own default


@dataclass(frozen=True)
class FitOptions:
    """What is chosen beside the recipe; with it, the identity of a run."""

    model_name: str
    pretrained: str
    augmentations: str
    ema_decay: float
    gradient_clip: float
    patience: int
    precision: str
    seed: int


@dataclass(frozen=True)
class Fitted:
    """The outcome of a fit; the module holds the best weights.

    history: one mapping of figures an epoch.
    best: figures of the epoch whose weights were kept.
    """

    history: list[dict[str, float]]
    best: dict[str, float]
    is_first_process: bool


class Feeds(L.LightningDataModule):
    """Training and validation batches for every process of a run."""

    def __init__(
        self,
        data: Dataset,
        transform: TransformSpec,
        augment: A.Compose | None,
        batch_size: int,
        workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.data, self.transform, self.augment = data, transform, augment
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        if len(self.train) < 2 or len(np.unique(self.train.labels)) < 2:
            raise DatasetError(
                f"train: {len(self.train)} training images of "
                f"{len(np.unique(self.train.labels))} class are too few; give at least two classes"
            )

    @cached_property
    def train(self) -> Split:
        return self.data.split("train")

    @cached_property
    def val(self) -> Split:
        return self.data.split("val")

    def train_dataloader(self) -> object:
        keys = EpochBatches(len(self.train), self.batch_size, self.seed, *self._place())
        return self._loader(TrainingBatches(self.train, self.transform, self.augment), keys)

    def val_dataloader(self) -> object:
        keys = OrderedBatches(len(self.val), 2 * self.batch_size, *self._place())
        return self._loader(TrainingBatches(self.val, self.transform, None), keys)

    def class_weights(self, is_weighed: bool) -> Tensor:
        """Return inverse class frequencies with mean 1, float32 [classes]; else ones."""
        counts = np.bincount(self.train.labels, minlength=len(self.data.classes))
        if not is_weighed:
            return torch.ones(len(counts))
        inverse = 1.0 / np.maximum(counts, 1)
        return torch.tensor(inverse / inverse.mean(), dtype=torch.float32)

    def augmented_samples(self) -> Tensor:
        """Return what the network will see: uint8 [n, size, size, 3]."""
        batches = TrainingBatches(self.train, self.transform, self.augment)
        chosen = np.arange(min(_SHOWN_IMAGES, len(self.train)))
        return batches[BatchKey((self.seed, 0, 0, 0), chosen)][0]

    def validation_samples(self) -> Batch:
        chosen = np.arange(min(_SHOWN_IMAGES, len(self.val)))
        return TrainingBatches(self.val, self.transform, None)[BatchKey((0, 0, 0, 0), chosen)]

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, batches: TrainingBatches, keys: EpochBatches | OrderedBatches) -> object:
        return loader(batches, keys, self.workers, pin_memory=torch.cuda.is_available())


def fit(
    module: TrainingModule,
    feeds: Feeds,
    recipe: Recipe,
    options: FitOptions,
    layout: Layout,
    logs: Path,
) -> Fitted:
    """Train with checkpoints, going on from the last one of the same run if there is one.

    Raises:
        UsageError: timm has no such optimizer.
    """
    checkpoints = _checkpoint_folder(layout, logs) / _identity(feeds, recipe, options)
    history = History(images=len(feeds.train))
    keeper = _keeper(checkpoints, "best", monitor="val_f1", mode="max")
    latest = _keeper(checkpoints, "last")
    trainer = _trainer(feeds, recipe, options, layout, logs, [history, keeper, latest])
    last = checkpoints / "last.ckpt"
    if last.is_file():
        log.info("resuming from %s", last)
    with warnings.catch_warnings():
        _allow_known_warnings()
        try:
            trainer.fit(module, datamodule=feeds, ckpt_path=str(last) if last.is_file() else None)
        except (ValueError, AssertionError) as err:
            if "optim" not in str(err).lower():
                raise
            raise UsageError(f"train: optimizer '{recipe.optimizer}': {err}") from err
    _load_best(module, keeper)
    best = max(history.epochs, key=lambda row: row["val_f1"])
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        shutil.rmtree(checkpoints)  # a finished run needs no resuming
    return Fitted(history.epochs, best, trainer.is_global_zero)


def _keeper(folder: Path, name: str, **choice: str) -> ModelCheckpoint:
    """Keep one checkpoint, renewed after an epoch: the best by `choice`, else the latest."""
    return ModelCheckpoint(
        folder,
        filename=name,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
        **choice,
    )


def _trainer(
    feeds: Feeds,
    recipe: Recipe,
    options: FitOptions,
    layout: Layout,
    logs: Path,
    callbacks: list[Callback],
) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it advertises
    pictures = TensorBoardPictures(
        feeds.data.classes, feeds.augmented_samples(), feeds.validation_samples()
    )
    callbacks = [*callbacks, pictures, *progress_bar()]
    if options.ema_decay:
        callbacks.append(WeightAveraging(multi_avg_fn=warmed_average(options.ema_decay)))
    if options.patience:
        callbacks.append(EarlyStopping("val_f1", mode="max", patience=options.patience))
    instance = layout.instance()
    if instance.count > 1:  # what Lightning's own environment reads
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = instance.first_host, _MASTER_PORT
        os.environ["NODE_RANK"] = str(instance.index)
    return L.Trainer(
        max_epochs=recipe.epochs,
        num_nodes=instance.count,
        precision=_precision(options.precision),
        gradient_clip_val=options.gradient_clip or None,
        callbacks=callbacks,
        logger=_loggers(logs),
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the batches know their rank
        enable_progress_bar=bool(progress_bar()),
        enable_model_summary=False,
    )


def warmed_average(decay: float) -> Callable[[TensorList, TensorList, Tensor | int], None]:
    """Return the update of an exponential moving average that forgets its random start.

    After n updates the decay is (1 + n) / (10 + n), until it reaches `decay`.
    Source: TensorFlow's ExponentialMovingAverage, num_updates.
    """

    def update(averaged: TensorList, current: TensorList, updates: Tensor | int) -> None:
        count = int(updates)
        kept = min(decay, (1 + count) / (10 + count))
        if torch.is_floating_point(averaged[0]):
            torch._foreach_lerp_(averaged, current, 1 - kept)
        else:  # counters, of batch normalisation
            torch._foreach_copy_(averaged, current)

    return update


def _precision(requested: str) -> str:
    if requested != "auto":
        return requested
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if has_bf16 else "32-true"


def _loggers(logs: Path) -> list[Logger]:
    loggers: list[Logger] = [TensorBoardLogger(logs, name="", version="")]
    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        from lightning.pytorch.loggers import MLFlowLogger

        loggers.append(MLFlowLogger(experiment_name="visionloop", tracking_uri=address))
    return loggers


def _checkpoint_folder(layout: Layout, logs: Path) -> Path:
    """Return the platform's folder, which outlives a spot interruption, else one by the logs."""
    if layout.base.is_dir():
        try:  # SageMaker's local mode mounts none, and there only root can make it
            layout.checkpoints.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=layout.checkpoints):
                return layout.checkpoints
        except OSError as err:
            log.warning("no checkpoint outlives this job: %s: %s", layout.checkpoints, err.strerror)
    return logs / "checkpoints"


def _identity(feeds: Feeds, recipe: Recipe, options: FitOptions) -> str:
    """Name a run by all that shapes it, so that no other run's checkpoint is resumed."""
    facts = [asdict(recipe), asdict(options), feeds.transform.to_dict(), feeds.batch_size]
    text = json.dumps([*facts, feeds.data.info.fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _load_best(module: TrainingModule, keeper: ModelCheckpoint) -> None:
    """Take the best epoch's weights; with averaging on, these are the averaged ones."""
    checkpoint = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])


def _allow_known_warnings() -> None:
    # Batches have sizes of their own choosing, and a small machine has few cores.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # That is what resuming looks like.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
