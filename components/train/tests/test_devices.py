"""Two machines of one job: real processes that find one another and share every epoch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from components.train.devices import join_instances, strategy
from components.train.optimisation import device_factor
from components.train.tests.options import DEFAULTS, train
from shared.component.errors import UsageError
from shared.component.layout import Layout
from shared.vision.tests.factories import make_dataset

REPOSITORY = Path(__file__).parents[3]
# Without batch statistics, which each device has of its own, two devices are as good as one.
RECIPE = DEFAULTS | {
    "model_name": "test_vit3",
    "image_size": 64,
    "epochs": 3,
    "batch_size": 6,
    "augmentations": "none",
    "lr_scaling": "none",
    "learning_rate": 0.001,
}

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20, val=7)


def machine(folder: Path, index: int, port: int, data, options) -> subprocess.Popen[bytes]:
    """Start one of two machines, laid out as SageMaker does."""
    base = folder / f"ml-{index}"
    (base / "input" / "config").mkdir(parents=True)
    hosts = ["127.0.0.1", "127.0.0.2"]  # the first is who the others ask
    place = {"current_host": hosts[index], "hosts": hosts, "network_interface_name": "lo"}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(place))
    told = {name: str(value) for name, value in options.items()}
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(told))
    (base / "input" / "data").mkdir()
    (base / "input" / "data" / "dataset").symlink_to(data.folder)
    environ = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(base),
        "MASTER_PORT": str(port),
        "SEEN": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    program = [sys.executable, "-m", "components.train.tests.watched", "train"]
    return subprocess.Popen(program, cwd=REPOSITORY, env=environ)


def share(folder: Path, data, **changes) -> Path:
    """Train on two machines; return the first one's bundle."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    both = [machine(folder, index, port, data, RECIPE | changes) for index in (0, 1)]
    try:
        assert [each.wait(100) for each in both] == [0, 0]
    finally:
        for each in both:
            each.kill()
    assert not (folder / "ml-1" / "model" / "bundle.json").exists()
    return folder / "ml-0" / "model"


@pytest.fixture(scope="module")
def shared(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    share(folder, data)
    return folder


def seen(folder: Path, split: str, epoch: int = 0) -> list[list[int]]:
    """Return the images that each machine's batches of an epoch were made of."""
    files = [(folder / f"{split}-{rank}.jsonl").read_text().splitlines() for rank in (0, 1)]
    rows = [[json.loads(line) for line in lines] for lines in files]
    return [[i for row in rank if row["epoch"] == epoch for i in row["images"]] for rank in rows]


def test_the_machines_see_every_image_once_an_epoch(shared):
    epochs = [seen(shared, "train", epoch) for epoch in range(3)]
    for one, other in epochs:
        assert sorted(one + other) == list(range(60))
        assert len(one) == len(other) == 30
    assert epochs[0] != epochs[1]


def test_each_validation_image_counts_once(shared):
    one, other = seen(shared, "val")
    assert sorted(one + other) == sorted(3 * list(range(21)))  # once in each of three epochs
    assert not set(one) & set(other)


def test_two_machines_learn_what_one_does_with_twice_the_batch(shared, data, tmp_path):
    alone = train(data, tmp_path, **RECIPE | {"batch_size": 12})
    together = shared / "ml-0" / "model"
    expected, found = history(alone), history(together)
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, abs=2e-4)
    weights, others = (load_file(folder / "weights.safetensors") for folder in (alone, together))
    assert max(float((weights[n] - others[n]).abs().max()) for n in weights) < 1e-4


def history(folder: Path) -> list[dict[str, float]]:
    rows = json.loads((folder / "training" / "report.json").read_text())["history"]
    assert len(rows) == 3
    return rows


def test_a_backbone_may_be_frozen_on_several_machines(data, tmp_path):
    assert history(share(tmp_path, data, frozen_epochs=1, model_name="test_resnet"))


def test_the_platform_says_which_machine_this_is(tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    config = tmp_path / "input" / "config" / "resourceconfig.json"
    config.parent.mkdir(parents=True)
    place = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    config.write_text(json.dumps(place | {"network_interface_name": "eth0"}))
    assert join_instances(Layout(tmp_path)) == 2
    assert os.environ["MASTER_ADDR"] == "algo-1"
    assert os.environ["NODE_RANK"] == "1"
    assert os.environ["NCCL_SOCKET_IFNAME"] == os.environ["GLOO_SOCKET_IFNAME"] == "eth0"
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


@pytest.mark.parametrize(
    ("rule", "devices", "factor"),
    [("none", 4, 1), ("sqrt", 4, 2), ("linear", 4, 4), ("sqrt", 1, 1)],
)
def test_the_learning_rate_follows_the_stated_rule(rule, devices, factor):
    assert device_factor(rule, devices) == factor


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs can do it")
def test_normalisation_cannot_be_synchronised_between_cpus():
    assert strategy(1, has_frozen=True, sync_batchnorm=True) == "auto"
    with pytest.raises(UsageError, match="sync_batchnorm needs GPUs"):
        strategy(2, has_frozen=False, sync_batchnorm=True)
