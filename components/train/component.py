"""Train: data set in, model bundle and TensorBoard logs out."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch

from components.train.augmentations import policy
from components.train.callbacks import without_speed
from components.train.export import export
from components.train.fitting import Feeds, FitOptions, Fitted, fit
from components.train.loader import limit_threads, worker_count
from components.train.module import Recipe, TrainingModule
from components.train.network import build, transform_spec
from components.train.page import write_page
from components.train.tracking import tracked
from shared.component.layout import Layout
from shared.component.version import code_version
from shared.vision.bundle import BundleInfo, write_bundle
from shared.vision.dataset import Dataset
from shared.vision.transforms import prepare

log = logging.getLogger(__name__)
_PARITY_IMAGES = 8


def run(
    *,
    dataset: Path,
    model_name: str,
    pretrained: str,
    image_size: int,
    epochs: int,
    batch_size: int,
    optimizer: str,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float,
    schedule: str,
    warmup_epochs: float,
    frozen_epochs: int,
    augmentations: str,
    label_smoothing: float,
    mixup: float,
    cutmix: float,
    ema_decay: float,
    gradient_clip: float,
    class_weights: bool,
    patience: int,
    precision: str,
    lr_scaling: str,
    sync_batchnorm: bool,
    workers: int,
    seed: int,
    onnx: bool,
    model: Path,
    logs: Path,
) -> None:
    """Train one model; write its bundle to `model` and event files to `logs`."""
    given: dict[str, Any] = dict(locals())
    recipe, options = (
        kind(**{name: given[name] for name in kind.__dataclass_fields__})
        for kind in (Recipe, FitOptions)
    )
    _train(dataset, image_size, batch_size, workers, recipe, options, onnx, model, logs)


def _train(
    dataset: Path,
    image_size: int,
    batch_size: int,
    workers: int,
    recipe: Recipe,
    options: FitOptions,
    onnx: bool,
    model: Path,
    logs: Path,
) -> None:
    data = Dataset.open(dataset)
    L.seed_everything(options.seed, verbose=False)
    workers = worker_count(workers)
    limit_threads(workers)
    network = build(options.model_name, len(data.classes), image_size, options.pretrained)
    transform = transform_spec(network, image_size)
    feeds = Feeds(
        data=data,
        transform=transform,
        augment=policy(options.augmentations, image_size),
        batch_size=batch_size,
        workers=workers,
        seed=options.seed,
    )
    class_weights = feeds.class_weights(recipe.class_weights)
    module = TrainingModule(network, transform, recipe, class_weights, options.seed)
    fitted = fit(module, feeds, recipe, options, Layout.from_environ(), logs)
    if fitted.is_first_process:
        with tracked(module.trainer.loggers, fitted.history, fitted.best, model):
            _write(module, feeds, fitted, recipe, options, onnx, model)
        shutil.rmtree(fitted.checkpoints, ignore_errors=True)  # a finished run needs no resuming


def _write(
    module: TrainingModule,
    feeds: Feeds,
    fitted: Fitted,
    recipe: Recipe,
    options: FitOptions,
    onnx: bool,
    folder: Path,
) -> None:
    validation = feeds.data.split("val")
    samples = [validation.read(i) for i in range(min(_PARITY_IMAGES, len(validation)))]
    while len(samples) < 3:  # parity is compared at several batch sizes
        samples.append(samples[0])
    images = torch.from_numpy(prepare(samples, feeds.transform))
    exported = export(module.network, images, folder, onnx)
    write_page(folder / "training", feeds, fitted, recipe, options, exported)
    info = BundleInfo(
        classes=feeds.data.classes,
        transform=feeds.transform,
        model_name=options.model_name,
        embedding_size=exported.embedding_size,
        parity=exported.parity,
        onnx_parity=exported.onnx_parity,
        dataset_fingerprint=feeds.data.info.fingerprint,
        test_fingerprint=feeds.data.info.test_fingerprint,
        code_version=code_version("train"),
        metrics=without_speed(fitted.best),
        training={"recipe": vars(recipe), "options": vars(options)},
    )
    bundle = write_bundle(folder, info)
    kept = " ".join(f"{name}={fitted.best[name]:.4f}" for name in ("val_accuracy", "val_f1"))
    # Also SageMaker's tuner reads this, which takes a metric's last value for the job's.
    log.info("kept epoch %.0f of %d: %s", fitted.best["epoch"], len(fitted.history), kept)
    log.info("bundle: %s files, parity=%.2g, %s", len(bundle.info.files), info.parity, folder)
