"""The whole component with options that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.train.component import run
from shared.vision.dataset import Dataset
from shared.vision.tests.factories import SIZE

DEFAULTS: dict[str, Any] = {
    "model_name": "mobilenetv3_small_050",
    "pretrained": "none",
    "image_size": SIZE,
    "epochs": 4,
    "batch_size": 8,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "layer_decay": 1.0,
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "frozen_epochs": 0,
    "augmentations": "light",
    "label_smoothing": 0.1,
    "mixup": 0.0,
    "cutmix": 0.0,
    "ema_decay": 0.9,
    "gradient_clip": 1.0,
    "class_weights": True,
    "patience": 0,
    "precision": "32-true",
    "lr_scaling": "sqrt",
    "sync_batchnorm": False,
    "workers": 0,
    "seed": 0,
    "onnx": False,  # seconds each time; one test has it
}


def train(data: Dataset, folder: Path, **changes: object) -> Path:
    """Train into `folder`/model and return it."""
    for name in ("model", "logs"):
        (folder / name).mkdir(exist_ok=True)
    run(dataset=data.folder, model=folder / "model", logs=folder / "logs", **DEFAULTS | changes)
    return folder / "model"
