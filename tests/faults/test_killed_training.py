"""kill -9 at any moment of a training: what is left can be read, and it comes to the same."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import lightning as L
import pytest

from ci.tests.live import wait_until
from components.train import fitting
from components.train.checkpoints import CheckpointFile, LatestCheckpoint
from components.train.tests.options import train
from shared.vision.bundle import open_bundle
from shared.vision.dataset import Dataset
from shared.vision.tests.factories import make_dataset

pytestmark = pytest.mark.faults
KILLS = 20
RECIPE = {
    "model_name": "test_resnet",
    "epochs": 4,
    "batch_size": 12,
    "augmentations": "medium",
    "mixup": 0.4,
    "frozen_epochs": 1,
    "workers": 1,
}
# Forked from a process that has imported torch and done nothing else: a start takes no seconds,
# and every process names its TorchScript classes alike.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


class EveryBatch(LatestCheckpoint):
    """Write a checkpoint after every batch, and a file when the training begins."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, every_s=0)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_train_start(trainer, module)
        Path(os.environ["BEGUN"]).touch()


def job(data: Path, folder: Path) -> None:
    """Train as one job of the platform would."""
    os.setsid()  # with its loaders it is one group, which goes at once, as a container does
    os.environ |= {"SAGEMAKER_BASE_DIR": str(folder / "ml"), "BEGUN": str(folder / "begun")}
    fitting.LatestCheckpoint = EveryBatch  # type: ignore[misc]
    train(Dataset.open(data), folder, **RECIPE)


def start(data: Path, folder: Path) -> multiprocessing.process.BaseProcess:
    (folder / "ml").mkdir(parents=True, exist_ok=True)
    (folder / "begun").unlink(missing_ok=True)
    process = PROCESSES.Process(target=job, args=(data, folder))
    process.start()
    return process


def await_training(process: multiprocessing.process.BaseProcess, folder: Path) -> None:
    """Return when the training begins, or the job ends without: nothing was left to learn."""
    wait_until(lambda: (folder / "begun").exists() or not process.is_alive(), 120)


def test_twenty_kills_change_nothing_in_the_end(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", train=20).folder
    whole = start(data, tmp_path / "whole")
    await_training(whole, tmp_path / "whole")
    began = time.monotonic()
    whole.join()
    training_s = time.monotonic() - began  # with the export
    expected = (tmp_path / "whole" / "model" / "bundle.json").read_bytes()
    chance = random.Random(0)  # noqa: S311 - moments, no secrets
    kills = finished = resumed = 0
    while kills < KILLS or finished == 0:
        folder = tmp_path / f"run-{finished}"
        process = start(data, folder)
        if chance.random() < 0.8:  # else it may not have come to training yet
            await_training(process, folder)
        process.join(chance.uniform(0, training_s) if kills < KILLS else None)
        if process.is_alive():
            kill(process)
            kills += 1
            resumed += read_what_is_left(folder)
            continue
        assert process.exitcode == 0
        assert (folder / "model" / "bundle.json").read_bytes() == expected
        finished += 1
    assert resumed >= KILLS // 4, f"{resumed} of {kills} kills left a checkpoint"


def kill(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it had not come to be a group
        process.kill()
    process.join()


def read_what_is_left(folder: Path) -> bool:
    """Read the checkpoint and the bundle, where there are any; say if there is a checkpoint."""
    if (folder / "model" / "bundle.json").exists():
        with open_bundle(folder / "model"):  # checks every file's hash
            pass
    found = list(folder.glob("ml/checkpoints/*/last.ckpt"))
    for path in found:
        assert CheckpointFile().load_checkpoint(path)["global_step"] >= 1
    return bool(found)
