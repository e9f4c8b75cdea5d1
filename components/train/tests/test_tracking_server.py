"""What a real MLflow server is told of trainings, and what becomes of one when it dies."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from components.train.callbacks import History
from components.train.tests.options import DEFAULTS, train
from components.train.tests.tracking_server import tracking_server
from shared.vision.bundle import open_bundle
from shared.vision.tests.factories import make_dataset

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),  # mlflow's own
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running
    assert not running.is_there()


@pytest.fixture(autouse=True)
def environ(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def client(server):
    from mlflow.tracking import MlflowClient

    return MlflowClient(server.url)


def test_two_trainings_are_two_runs_and_two_versions_with_all_that_was_found(
    data, tmp_path, monkeypatch, client
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "scenes")
    for number, rate in ((1, 0.003), (2, 0.01)):
        monkeypatch.setenv("TRAINING_JOB_NAME", f"job-{number}")
        (tmp_path / str(number)).mkdir()
        bundle = train(data, tmp_path / str(number), epochs=2, learning_rate=rate)
        version = client.get_model_version("scenes", str(number))
        run = client.get_run(version.run_id)
        assert run.info.status == "FINISHED"
        assert run.info.run_name == run.data.tags["job"] == f"job-{number}"
        assert run.data.params["learning_rate"] == str(rate)
        _holds_the_parameters(run)
        _holds_the_history(client, run, bundle)
        _holds_the_bundle(client, version, bundle, tmp_path / f"got-{number}")
        assert run.data.tags["dataset_fingerprint"] == data.info.fingerprint
        assert run.data.tags["test_fingerprint"] == data.info.test_fingerprint
        with open_bundle(bundle) as opened:
            assert run.data.tags["code_version"] == opened.info.code_version
    assert len(client.search_runs([run.info.experiment_id])) == 2


def _holds_the_parameters(run):
    told = {name: run.data.params[name] for name in DEFAULTS if name in run.data.params}
    assert set(DEFAULTS) - set(told) == {"onnx", "workers"}
    for name in ("model_name", "batch_size", "image_size", "seed", "ema_decay", "optimizer"):
        assert told[name] == str(DEFAULTS[name])


def _holds_the_history(client, run, bundle, but=()):
    """Compare with the report, to the float32 that Lightning makes of a figure."""
    rows = json.loads((bundle / "training" / "report.json").read_text())["history"]
    for name in rows[0].keys() - {"epoch", *but}:
        points = client.get_metric_history(run.info.run_id, name)
        points = sorted(points, key=lambda point: point.step)  # a late one has a late time
        assert [point.step for point in points] == [row["epoch"] for row in rows], name
        told = [row[name] for row in rows]
        assert [point.value for point in points] == pytest.approx(told, rel=1e-6), name


def _holds_the_bundle(client, version, bundle, folder):
    from mlflow.artifacts import download_artifacts

    got = download_artifacts(
        artifact_uri=version.source, dst_path=folder, tracking_uri=client.tracking_uri
    )
    files = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]
    assert len(files) > 5
    for name in files:
        assert (folder / "model" / name).read_bytes() == (bundle / name).read_bytes(), name
    with open_bundle(folder / "model") as opened:  # checks the sha256 of every file
        assert opened.info.model_name == DEFAULTS["model_name"]
    assert Path(got).samefile(folder / "model")


def test_an_interrupted_training_goes_on_in_its_run(data, tmp_path, monkeypatch, client):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "spot")
    original = History.on_train_epoch_end

    def told_to_stop(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(History, "on_train_epoch_end", told_to_stop)
        with pytest.raises(SystemExit):
            train(data, tmp_path, epochs=3)
    experiment = client.get_experiment_by_name("spot").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["KILLED"]
    bundle = train(data, tmp_path, epochs=3)
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    # The epoch's speed is another at the second attempt, and what was told first stays.
    _holds_the_history(client, run, bundle, but=["images_per_s"])


def test_a_server_that_dies_costs_no_training(data, tmp_path, monkeypatch, server, caplog):
    """The last test here: the server is gone after it."""
    original = History.on_train_epoch_end

    def killing(self, trainer, module):
        original(self, trainer, module)
        if trainer.current_epoch == 0:
            server.kill()

    monkeypatch.setattr(History, "on_train_epoch_end", killing)
    bundle = train(data, tmp_path, epochs=2)
    with open_bundle(bundle) as opened:
        assert opened.info.model_name == DEFAULTS["model_name"]
    rows = json.loads((bundle / "training" / "report.json").read_text())["history"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert "MLflow cannot be told, the figures wait" in caplog.text
    assert "lacks what was made" in caplog.text
