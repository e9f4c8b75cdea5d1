"""A training that was interrupted comes to the same bundle, byte by byte."""

from __future__ import annotations

import json
import os
import resource
import signal

import pytest
import torch

from components.train.checkpoints import CheckpointFile
from components.train.module import TrainingModule
from components.train.tests.options import train
from shared.component.errors import InputError, OutputError
from shared.vision.tests.factories import make_dataset

# Whatever has a state of its own or draws random numbers takes part.
RECIPE = {
    "model_name": "test_resnet",
    "epochs": 3,
    "batch_size": 12,
    "augmentations": "medium",
    "mixup": 0.4,
    "cutmix": 0.4,
    "layer_decay": 0.8,
    "frozen_epochs": 1,
}
BATCHES = 5  # of an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20)


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    return digest(train(data, tmp_path_factory.mktemp("whole"), **RECIPE))


def digest(folder) -> dict[str, object]:
    """Return bundle.json, which has every other file's hash.

    Without TorchScript's: torch numbers its classes by process (tests/faults has processes).
    """
    document = json.loads((folder / "bundle.json").read_text())
    del document["files"]["model.ts"]
    return document


@pytest.fixture
def signalled(monkeypatch):
    """Let the platform send SIGTERM in the middle of a step, by its number from 0."""

    def at(step: int) -> None:
        original, steps = TrainingModule.training_step, iter(range(10**6))

        def training_step(self, batch, number):
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, batch, number)

        monkeypatch.setattr(TrainingModule, "training_step", training_step)

    return at


@pytest.mark.parametrize("step", [0, BATCHES - 1, BATCHES, 8, 14])
def test_sigterm_at_any_batch_changes_nothing_in_the_end(
    data, tmp_path, base, signalled, expected, step
):
    signalled(step)
    with pytest.raises(SystemExit) as stopped:
        train(data, tmp_path, **RECIPE)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert list(base.glob("checkpoints/*/last.ckpt"))
    assert not (tmp_path / "model" / "bundle.json").exists()
    assert digest(train(data, tmp_path, **RECIPE)) == expected
    assert not list((base / "checkpoints").iterdir())


def test_loader_processes_change_nothing_after_an_interruption(data, tmp_path, signalled, expected):
    signalled(7)
    with pytest.raises(SystemExit):
        train(data, tmp_path, workers=2, **RECIPE)
    assert digest(train(data, tmp_path, workers=2, **RECIPE)) == expected


def test_a_resumed_run_does_only_what_is_left(data, tmp_path, base, signalled, monkeypatch):
    signalled(BATCHES + 1)
    with pytest.raises(SystemExit):
        train(data, tmp_path, **RECIPE)
    monkeypatch.undo()
    seen = []
    original = TrainingModule.training_step

    def training_step(self, batch, number):
        seen.append((self.current_epoch, number))
        return original(self, batch, number)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
    train(data, tmp_path, **RECIPE)
    left = [(1, number) for number in range(2, BATCHES)] + [(2, number) for number in range(5)]
    assert seen == left


def test_stopped_early_stays_stopped_where_only_the_export_was_interrupted(
    data, tmp_path, monkeypatch
):
    options = RECIPE | {"epochs": 8, "patience": 1, "learning_rate": 1e-7}
    whole = digest(train(data, tmp_path, **options))
    assert len(history(tmp_path)) < 8

    def interrupted(*_):
        raise SystemExit(143)

    (tmp_path / "again").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("components.train.component.export", interrupted)
        with pytest.raises(SystemExit):
            train(data, tmp_path / "again", **options)
        patch.setattr(TrainingModule, "training_step", interrupted)  # nothing is left to learn
    assert digest(train(data, tmp_path / "again", **options)) == whole


def history(folder) -> list[dict[str, float]]:
    report = json.loads((folder / "model" / "training" / "report.json").read_text())
    return report["history"]


def test_a_killed_writer_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path, io = tmp_path / "last.ckpt", CheckpointFile()
    io.save_checkpoint({"step": 1}, path)
    real = torch.save

    def killed(checkpoint, stream):
        real(checkpoint, stream)
        stream.truncate(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        io.save_checkpoint({"step": 2}, path)
    assert io.load_checkpoint(path) == {"step": 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt"]


@pytest.fixture
def full_disk():
    """Let no file grow beyond 50 kB, as a disk with no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path, full_disk):
    path, io = tmp_path / "last.ckpt", CheckpointFile()
    io.save_checkpoint({"weights": torch.zeros(10)}, path)
    with pytest.raises(OutputError, match=r"cannot write the checkpoint .*the one before is whole"):
        io.save_checkpoint({"weights": torch.zeros(100_000)}, path)
    assert torch.equal(io.load_checkpoint(path)["weights"], torch.zeros(10))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt"]


def test_a_damaged_checkpoint_is_named_and_never_silently_ignored(data, tmp_path, base, signalled):
    signalled(3)
    with pytest.raises(SystemExit):
        train(data, tmp_path, **RECIPE)
    [path] = base.glob("checkpoints/*/last.ckpt")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"last.ckpt is damaged.*delete it to start anew"):
        train(data, tmp_path, **RECIPE)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state": Harmful(str(tmp_path / "ran"))}, path)
    with pytest.raises(InputError, match="is damaged"):
        CheckpointFile().load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_other_options_never_resume_this_checkpoint(data, tmp_path, base, signalled, expected):
    signalled(3)
    with pytest.raises(SystemExit):
        train(data, tmp_path, **RECIPE | {"seed": 1})
    assert digest(train(data, tmp_path, **RECIPE)) == expected
    assert len(list(base.glob("checkpoints/*"))) == 1  # the other run's, which may go on yet
