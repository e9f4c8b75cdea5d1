"""Fit: data to the module, the trainer, checkpoints, loggers."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import albumentations as A
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import Logger
from torch import Tensor

from components.train import tracking
from components.train.averaging import WarmedAverage
from components.train.callbacks import History, TensorBoardPictures, progress_bar
from components.train.checkpoints import (
    BestWeights,
    CheckpointFile,
    LatestCheckpoint,
    checkpoint_folder,
    identity,
)
from components.train.devices import join_instances, strategy
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
_SHOWN_IMAGES = 24


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
    sync_batchnorm: bool
    seed: int


@dataclass(frozen=True)
class Fitted:
    """The outcome of a fit; the module holds the best weights.

    history: one mapping of figures an epoch.
    best: figures of the epoch whose weights were kept.
    devices: how many shared every step.
    checkpoints: folder of this run's; its last one is of no use once the bundle is written.
    """

    history: list[dict[str, float]]
    best: dict[str, float]
    is_first_process: bool
    devices: int
    checkpoints: Path


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
        keys = self._keys()
        if self.trainer is not None:  # a resumed run goes on where its checkpoint was written
            loop = self.trainer.fit_loop
            keys.epoch = loop.epoch_progress.current.processed
            keys.first = loop.epoch_loop.batch_progress.current.processed * loop.restarting
        return self._loader(TrainingBatches(self.train, self.transform, self.augment), keys)

    @property
    def steps_per_epoch(self) -> int:
        return len(self._keys())

    def _keys(self) -> EpochBatches:
        return EpochBatches(len(self.train), self.batch_size, self.seed, *self._place())

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
        InputError: the checkpoint is damaged.
        OutputError: a checkpoint cannot be written.
        SystemExit: the platform asked to stop; a checkpoint was written.
    """
    facts = [asdict(recipe), asdict(options), feeds.transform.to_dict()]
    sizes = {"batch_size": feeds.batch_size, "dataset": feeds.data.info.fingerprint}
    checkpoints = checkpoint_folder(layout, logs) / identity(*facts, sizes)
    last = checkpoints / "last.ckpt"
    history, best = History(images=len(feeds.train)), BestWeights()
    loggers = _loggers(feeds, recipe, options, layout, logs, checkpoints)
    callbacks: list[Callback] = [history, best, LatestCheckpoint(last)]
    trainer = _trainer(feeds, recipe, options, layout, loggers, callbacks)
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
    if best.weights is None:
        raise RuntimeError("train: no epoch was validated")
    module.load_state_dict(best.weights)
    kept = max(history.epochs, key=lambda row: row["val_f1"])
    devices = trainer.world_size
    return Fitted(history.epochs, kept, trainer.is_global_zero, devices, checkpoints)


def _trainer(
    feeds: Feeds,
    recipe: Recipe,
    options: FitOptions,
    layout: Layout,
    loggers: list[Logger],
    callbacks: list[Callback],
) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it advertises
    pictures = TensorBoardPictures(
        feeds.data.classes, feeds.augmented_samples(), feeds.validation_samples()
    )
    callbacks = [*callbacks, pictures, *progress_bar()]  # pictures and best before the average
    if options.ema_decay:
        callbacks.append(WarmedAverage(options.ema_decay))
    if options.patience:
        callbacks.append(EarlyStopping("val_f1", mode="max", patience=options.patience))
    instances = join_instances(layout)
    return L.Trainer(
        max_epochs=recipe.epochs,
        num_nodes=instances,
        strategy=strategy(instances, recipe.frozen_epochs > 0, options.sync_batchnorm),
        sync_batchnorm=options.sync_batchnorm,
        plugins=[CheckpointFile()],
        precision=_precision(options.precision),
        gradient_clip_val=options.gradient_clip or None,
        callbacks=callbacks,
        logger=loggers,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the batches know their rank
        enable_progress_bar=bool(progress_bar()),
        enable_model_summary=False,
    )


def _precision(requested: str) -> str:
    if requested != "auto":
        return requested
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if has_bf16 else "32-true"


def _loggers(
    feeds: Feeds,
    recipe: Recipe,
    options: FitOptions,
    layout: Layout,
    logs: Path,
    checkpoints: Path,
) -> list[Logger]:
    sizes = {"batch_size": feeds.batch_size, "image_size": feeds.transform.image_size}
    parameters = asdict(recipe) | asdict(options) | sizes
    return tracking.loggers(logs, checkpoints, parameters, feeds.data.info, layout)


def _allow_known_warnings() -> None:
    # Batches have sizes of their own choosing, and a small machine has few cores.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    # It is resumable: Feeds begins where the checkpoint was written.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
