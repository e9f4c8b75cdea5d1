"""The whole component on coloured images: it learns, logs, exports and goes on."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.train.fitting import Feeds
from components.train.module import Recipe
from components.train.optimisation import cosine_with_warmup
from components.train.tests.options import train
from shared.component.errors import UsageError
from shared.component.spec import load_spec
from shared.vision.bundle import open_bundle
from shared.vision.errors import DatasetError
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import SPEC, make_dataset

QUICK = {"model_name": "test_resnet", "epochs": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20)


def test_learns_the_colours_and_writes_a_bundle_that_answers(data, tmp_path, caplog):
    caplog.set_level("INFO")
    with open_bundle(train(data, tmp_path, epochs=8, onnx=True)) as bundle:
        split = data.split("test")
        answer = Predictor(bundle).predict_all(split.read, len(split))
        through_onnx = Predictor(bundle, engine="onnx").predict_all(split.read, len(split))
        assert np.abs(answer.probabilities - through_onnx.probabilities).max() < 1e-4
        assert bundle.info.onnx_parity < 1e-4
        assert (answer.labels == split.labels).mean() > 0.9
        assert bundle.info.classes == data.classes
        assert bundle.info.dataset_fingerprint == data.info.fingerprint
        assert bundle.info.parity < 1e-4
        assert (bundle.folder / "training" / "report.html").is_file()
    lines = [r.message for r in caplog.records if r.message.startswith("epoch=")]
    assert len(lines) == 8
    spec = load_spec(__import__("pathlib").Path(__file__).parents[1])
    for pattern in spec.metrics.values():
        assert re.search(pattern, lines[-1])


def test_tensorboard_holds_scores_curves_and_pictures(data, tmp_path):
    train(data, tmp_path, epochs=2)
    events = EventAccumulator(str(tmp_path / "logs")).Reload().Tags()
    assert {
        "val_f1",
        "val_precision",
        "val_recall",
        "val_accuracy",
        "val_loss",
        "train_loss",
    } <= set(events["scalars"])
    assert {"confusion matrix", "sample predictions", "augmented samples"} <= {
        tag.split("/")[0] for tag in events["images"]
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"mixup": 0.2, "cutmix": 0.5},
        {"ema_decay": 0.0, "gradient_clip": 0.0, "class_weights": False},
        {"optimizer": "sgd", "augmentations": "none", "label_smoothing": 0.0},
        {"patience": 1},
    ],
)
def test_every_option_trains(data, tmp_path, changes):
    with open_bundle(train(data, tmp_path, epochs=2, **changes)) as bundle:
        assert bundle.info.training["recipe"]["optimizer"] == changes.get("optimizer", "adamw")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.01),
        ("weight_decay", 0.5),
        ("label_smoothing", 0.4),
        ("augmentations", "none"),
        ("mixup", 1.0),
        ("cutmix", 1.0),
        ("ema_decay", 0.0),
        ("gradient_clip", 0.01),
        ("warmup_epochs", 0.0),
        ("schedule", "linear"),
        ("schedule", "constant"),
        ("layer_decay", 0.5),
        ("frozen_epochs", 1),
        ("batch_size", 16),
        ("optimizer", "sgd"),
        ("seed", 1),
    ],
)
def test_every_parameter_changes_what_is_learned(data, tmp_path, name, value, plain_weights):
    changed = weights(train(data, tmp_path, **QUICK, **{name: value}))
    assert changed != plain_weights


@pytest.fixture(scope="module")
def plain_weights(data, tmp_path_factory):
    return weights(train(data, tmp_path_factory.mktemp("plain"), **QUICK))


def test_the_same_seed_gives_the_same_weights(data, tmp_path, plain_weights):
    assert weights(train(data, tmp_path, **QUICK)) == plain_weights


def weights(folder) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_trains_where_the_platform_gives_no_folder_for_checkpoints(data, tmp_path, base, caplog):
    (base / "checkpoints").write_text("no folder, nor can one be made")
    with open_bundle(train(data, tmp_path, epochs=1)) as bundle:
        assert bundle.info.classes
    assert "no checkpoint outlives this job" in caplog.text
    assert not list((tmp_path / "logs").rglob("*.ckpt"))


def test_a_single_class_is_too_few(tmp_path, data):
    feeds = Feeds(data, SPEC, None, 8, 0, 0)
    assert feeds.class_weights(True).tolist() == [1.0, 1.0, 1.0]
    lonely = make_dataset(tmp_path / "one", train=1, val=1, test=1)
    lonely.split("train").labels[:] = 0
    with pytest.raises(DatasetError, match="at least two classes"):
        _with_labels(lonely, 0)


def _with_labels(data, label):
    feeds = Feeds.__new__(Feeds)
    split = data.split("train")
    split.labels[:] = label
    feeds.__dict__["train"] = split
    Feeds.__init__(feeds, data, SPEC, None, 8, 0, 0)


def test_an_unknown_optimizer_is_named(data, tmp_path):
    with pytest.raises(UsageError, match="adamm"):
        train(data, tmp_path, optimizer="adamm")


def test_the_schedule_rises_and_falls_to_zero():
    rates = [cosine_with_warmup(step, 100, 10) for step in range(101)]
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert max(rates) == 1.0
    assert abs(rates[-1]) < 1e-9


def test_class_weights_are_inverse_to_frequency(tmp_path):
    data = make_dataset(tmp_path, train=6)
    feeds = Feeds(data, SPEC, None, 8, 0, 0)
    feeds.train.labels[:6] = 0
    counts = np.bincount(feeds.train.labels)
    found = feeds.class_weights(True).numpy()
    assert np.allclose(found * counts, (found * counts)[0])
    assert found.mean() == pytest.approx(1)
    assert feeds.class_weights(False).tolist() == [1, 1, 1]


def test_a_recipe_names_every_field():
    assert Recipe.__dataclass_fields__.keys() >= {"optimizer", "learning_rate", "class_weights"}


@pytest.mark.training
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # mlflow's own
def test_mlflow_gets_the_figures_where_an_address_is_set(data, tmp_path, monkeypatch):
    import mlflow

    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    train(data, tmp_path, epochs=1)
    runs = mlflow.tracking.MlflowClient(address).search_runs(["1"])
    assert {"val_f1", "val_accuracy", "train_loss"} <= runs[0].data.metrics.keys()
    assert runs[0].info.status == "FINISHED"
