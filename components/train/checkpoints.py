"""What outlives an interruption, and how a run comes back to the same result.

One file holds all of a run: weights, averaged weights, optimizer, schedule, position in the
epoch, figures, and the best weights so far. Batches and random numbers need no state: they
follow from (seed, epoch, rank, batch number). SageMaker copies the folder to S3 while the job
runs, and back before the next attempt; a spot interruption is SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor

from components.train.module import TrainingModule
from shared.component.errors import InputError, OutputError
from shared.component.files import atomic
from shared.component.layout import Layout

log = logging.getLogger(__name__)
_EVERY_S = 60.0  # so much work may be lost where a machine goes without a word
_AGREE_BATCHES = 10  # several devices agree whether to stop, which makes them wait for another
TERMINATED = 128 + signal.SIGTERM  # exit status


class CheckpointFile(TorchCheckpointIO):
    """Write a checkpoint aside, to the disk, then rename it; read tensors and plain values only."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: _PATH,
        storage_options: object = None,  # noqa: ARG002 - Lightning names it
    ) -> None:
        """Raise OutputError where it cannot be written; the previous one is then untouched."""
        try:
            with atomic(Path(path)) as aside, aside.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except (OSError, RuntimeError) as err:  # torch's own writer says RuntimeError
            raise OutputError(
                f"train: cannot write the checkpoint {path}: {_reason(err, Path(path))}; the one "
                "before is whole: start again, and the training goes on from there"
            ) from err

    def load_checkpoint(self, path: _PATH, *_: object, **__: object) -> dict[str, Any]:
        try:
            found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as err:
            reason = str(err).partition("\n")[0]
            raise InputError(
                f"train: checkpoint {path} is damaged: {reason}; delete it to start anew"
            ) from err
        return found


class BestWeights(Callback):
    """Hold the weights of the epoch with the best validation F1, on the CPU.

    Must stand before WarmedAverage, so that it sees the averaged weights that were validated.
    weights: state of the module, None before the first validation.
    """

    def __init__(self) -> None:
        self.score = float("-inf")
        self.weights: dict[str, Tensor] | None = None

    def on_validation_epoch_end(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, TrainingModule):
            raise TypeError(f"a TrainingModule is wanted, not {type(module).__name__}")
        score = float(module.metrics["val_f1"].compute())
        if self.weights is None or score > self.score:
            self.score = score
            self.weights = {
                name: value.detach().cpu().clone() for name, value in module.state_dict().items()
            }

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.weights = state_dict["score"], state_dict["weights"]


class LatestCheckpoint(Checkpoint):
    """Keep `path` up to date: now and then, at the end, and when the platform sends SIGTERM.

    After SIGTERM the batch is finished, the checkpoint written and SystemExit raised. Lightning
    puts it behind all other callbacks, whose state of this batch is then complete.
    """

    def __init__(self, path: Path, every_s: float = _EVERY_S) -> None:
        self.path, self.every_s = path, every_s
        self._is_told_to_stop = threading.Event()
        self._last = time.monotonic()
        self._trainer: L.Trainer | None = None
        self._is_finished = False

    def on_fit_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        trainer.should_stop = self._is_finished  # stopped early, and interrupted only then

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Take SIGTERM from Lightning, which would stop between two batches and save nothing."""
        self._trainer, self._last = trainer, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, _frame: FrameType | None) -> None:
        self._is_told_to_stop.set()
        launcher = self._trainer.strategy.launcher if self._trainer else None
        if launcher is not None:  # the processes of this machine's other devices
            launcher.kill(number)

    def on_train_batch_end(
        self, trainer: L.Trainer, _m: L.LightningModule, _o: object, _b: object, number: int
    ) -> None:
        if number + 1 == trainer.num_training_batches:
            return  # the validation and on_train_epoch_end follow at once
        if trainer.world_size == 1 or (number + 1) % _AGREE_BATCHES == 0:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        self._is_finished = trainer.should_stop
        is_last = trainer.current_epoch + 1 == trainer.max_epochs or trainer.should_stop
        self._save_if_due(trainer, is_last)

    def state_dict(self) -> dict[str, Any]:
        return {"is_finished": self._is_finished}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._is_finished = state_dict["is_finished"]

    def _save_if_due(self, trainer: L.Trainer, is_last: bool = False) -> None:
        told = self._is_told_to_stop.is_set()
        is_due = is_last or time.monotonic() - self._last > self.every_s
        if trainer.world_size > 1:  # all save and all stop, or none does
            told = trainer.strategy.reduce_boolean_decision(told, all=False)
            is_due = trainer.strategy.reduce_boolean_decision(is_due, all=False)
        if told or is_due:
            trainer.save_checkpoint(self.path)
            self._last = time.monotonic()
        if told:
            log.warning("told to stop: the training goes on from %s when started again", self.path)
            raise SystemExit(TERMINATED)


def checkpoint_folder(layout: Layout, logs: Path) -> Path:
    """Return the platform's folder, which outlives a spot interruption, else one by the logs."""
    if layout.base.is_dir():
        try:  # SageMaker's local mode mounts none, and there only root can make it
            layout.checkpoints.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=layout.checkpoints):
                return layout.checkpoints
        except OSError as err:
            log.warning("no checkpoint outlives this job: %s: %s", layout.checkpoints, err.strerror)
    return logs / "checkpoints"


def identity(*facts: Mapping[str, Any]) -> str:
    """Name a run by all that shapes it, so that no other run's checkpoint is resumed."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _reason(err: Exception, path: Path) -> str:
    if isinstance(err, OSError):
        return err.strerror or str(err)
    free = shutil.disk_usage(path.parent).free
    return f"{str(err).partition(chr(10))[0]} ({free / 1e6:.0f} MB are free)"
