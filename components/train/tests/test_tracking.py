"""What a run leaves in TensorBoard, read by TensorBoard itself, and when MLflow is away."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from components.train.mlflow_run import MLflowRun, Place, open_run
from components.train.tests.options import DEFAULTS, train
from components.train.tracking import KEPT, METRICS, Board, loggers, tracked
from shared.component.errors import StorageError
from shared.component.layout import Layout
from shared.vision.tests.factories import make_dataset

PARAMETERS = {"model_name": "resnet18", "learning_rate": 0.01, "class_weights": True, "epochs": 2}
BEST = {"epoch": 2.0, "val_f1": 0.75, "val_accuracy": 0.5}
HISTORY = [
    {"epoch": 1.0, "val_f1": 0.25, "val_accuracy": 0.25, "images_per_s": 9.0},
    BEST | {"images_per_s": 8.0},
]
mlflow_warns = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=20)


def sessions(logs):
    """Return start and end of a run's session, as the HParams plugin reads them."""
    events = EventAccumulator(str(logs / KEPT)).Reload()
    content = {
        tag: events.SummaryMetadata(tag).plugin_data.content
        for tag in events.PluginTagToContent(metadata.PLUGIN_NAME)
    }
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    end = content.get(metadata.SESSION_END_INFO_TAG)
    return events, start.hparams, end and metadata.parse_session_end_info_plugin_data(end)


def test_a_training_leaves_its_parameters_and_the_kept_epochs_figures(data, tmp_path):
    report = train(data, tmp_path, epochs=2) / "training" / "report.json"
    best = json.loads(report.read_text())["best"]
    events, parameters, end = sessions(tmp_path / "logs")
    told = {name for name in DEFAULTS if name in parameters}
    # these two change nothing of what is learned
    assert set(DEFAULTS) - told == {"onnx", "workers"}
    assert parameters["model_name"].string_value == DEFAULTS["model_name"]
    assert parameters["learning_rate"].number_value == DEFAULTS["learning_rate"]
    assert parameters["class_weights"].string_value == "true"
    curves = EventAccumulator(str(tmp_path / "logs")).Reload()
    for name in METRICS:
        (kept,) = events.Scalars(name)
        assert kept.value == pytest.approx(best[name])
        assert (kept.step, kept.value) in [(p.step, p.value) for p in curves.Scalars(name)]
    assert end.status == 1  # STATUS_SUCCESS


def test_a_run_that_goes_on_is_one_session_and_ends_when_it_ends(tmp_path):
    logs = tmp_path / "runs" / "one"
    for _attempt in range(2):
        board = Board(logs)
        board.begin(PARAMETERS)
        board.finalize("failed")
    assert sessions(logs)[2] is None
    assert len(list(logs.rglob("events*"))) == 2
    board.end(BEST)
    with tensorboard(logs.parent) as url:
        (group,) = session_groups(url, 1)
    assert group["hparams"]["learning_rate"] == 0.01
    assert [each["status"] for each in group["sessions"]] == ["STATUS_SUCCESS"]


def test_tensorboard_compares_runs_by_the_kept_epoch(tmp_path):
    for number, f1 in enumerate((0.5, 0.75)):
        board = Board(tmp_path / f"run-{number}")
        board.begin(PARAMETERS | {"learning_rate": 0.1 * (number + 1)})
        board.log_metrics({"val_f1": 0.1, "epoch": 2}, step=29)  # the last, which is not kept
        board.end(BEST | {"val_f1": f1})
    Board(tmp_path / "going").begin(PARAMETERS)
    with tensorboard(tmp_path) as url:
        groups = {group["name"]: group for group in session_groups(url, 3)}
        infos = ask(url, "experiment", {"includeMetrics": True, "hparamsLimit": 1})
    # Of all parameters the one that differs comes first, and no curve is taken for a metric.
    assert [info["name"] for info in infos["hparamInfos"]] == ["learning_rate"]
    assert {info["name"]["tag"] for info in infos["metricInfos"]} == set(METRICS)
    assert groups.keys() == {"run-0/kept", "run-1/kept", "going/kept"}
    for number, f1 in enumerate((0.5, 0.75)):
        group = groups[f"run-{number}/kept"]
        values = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
        assert values == {"val_f1": f1, "val_accuracy": 0.5}
        assert group["hparams"]["learning_rate"] == pytest.approx(0.1 * (number + 1))
    assert groups["going/kept"]["metricValues"] == []
    assert groups["going/kept"]["hparams"]["model_name"] == "resnet18"


@contextmanager
def tensorboard(folder: Path):
    """Run a real TensorBoard on a port of its own choice; give its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield found[0]
                    return
            raise AssertionError("TensorBoard does not start")
        finally:
            process.terminate()


def session_groups(url, count):
    """Return the sessions, once there are `count`: TensorBoard loads runs one by one."""
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    request = {"allowedStatuses": statuses, "startIndex": 0, "sliceSize": 100}
    end = time.monotonic() + 60
    while True:
        groups = ask(url, "session_groups", request).get("sessionGroups", [])
        if len(groups) >= count or time.monotonic() > end:
            return groups
        time.sleep(0.2)


def ask(url, what, request):
    """Ask what TensorBoard's HParams tab asks."""
    asked = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/data/plugin/hparams/{what}",
        json.dumps(request).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        return json.load(answer)


def test_a_second_process_writes_nothing_down(data, tmp_path):
    environ = {"LOCAL_RANK": "1", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    layout = Layout(tmp_path)
    (board,) = loggers(tmp_path, tmp_path, PARAMETERS, data.info, layout, environ)
    assert isinstance(board, Board)
    assert not list(tmp_path.rglob("events*"))


def closed_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


@mlflow_warns
def test_an_mlflow_that_does_not_answer_stops_a_training_before_it_begins(
    data,
    tmp_path,
    monkeypatch,
):
    address = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    began = time.monotonic()
    with pytest.raises(StorageError, match=f"MLflow at {address} cannot be used.*unset it"):
        train(data, tmp_path, epochs=1)
    assert time.monotonic() - began < 20  # of which MLflow's import takes some
    assert not (tmp_path / "model" / "bundle.json").exists()


@mlflow_warns
def test_a_run_that_goes_on_does_without_an_mlflow_that_does_not_answer(tmp_path, caplog):
    place = Place(f"http://127.0.0.1:{closed_port()}")
    known = {"tracking_uri": place.tracking_uri, "run_id": "a" * 32}
    (tmp_path / "mlflow-run.json").write_text(json.dumps(known))
    run = open_run(place, tmp_path, PARAMETERS, {})
    run.log_metrics({"epoch": 1, "val_f1": 0.5})
    assert run.run_id == "a" * 32
    assert "MLflow cannot be told, the figures wait" in caplog.text


ARN = "arn:aws:sagemaker:eu-west-1:000000000000:mlflow-tracking-server/ours"


@mlflow_warns
def test_a_managed_mlflow_is_asked_with_signed_requests(tmp_path, monkeypatch):
    """AWS is not there: a listener on loopback takes what sagemaker-mlflow sends, and refuses."""
    seen = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{listener.server_port}"
        for name, value in {
            "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": address,
            "MLFLOW_TRACKING_URI": ARN,  # where the plugin looks
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StorageError, match=f"MLflow at {ARN} cannot be used"):
            open_run(Place.from_environ(), tmp_path, PARAMETERS, {})
        listener.shutdown()
    assert seen[0]["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=nobody/")
    assert "/eu-west-1/" in seen[0]["Authorization"]
    assert seen[0]["x-mlflow-sm-tracking-server-arn"] == ARN


class Client:
    """An MLflow that keeps what it is told, and is away while `is_away`."""

    def __init__(self, told=()):
        self.is_away, self.told, self.statuses, self.calls = False, list(told), [], 0

    def _answer(self):
        self.calls += 1
        if self.is_away:
            raise ConnectionRefusedError("nobody there")

    def log_batch(self, _run_id, metrics):
        self._answer()
        self.told += [(metric.key, metric.step, metric.value) for metric in metrics]

    def set_terminated(self, _run_id, status):
        self._answer()
        self.statuses.append(status)

    def update_run(self, _run_id, status):
        self._answer()
        self.statuses.append(status)

    def get_run(self, _run_id):
        self._answer()
        metrics = dict.fromkeys(key for key, *_ in self.told)
        return SimpleNamespace(
            data=SimpleNamespace(metrics=metrics), info=SimpleNamespace(artifact_uri="here:/run")
        )

    def get_metric_history(self, _run_id, key):
        return [SimpleNamespace(key=k, step=s, value=v) for k, s, v in self.told if k == key]

    def log_artifacts(self, *_):
        self._answer()


@mlflow_warns
def test_what_an_outage_kept_back_is_sent_when_it_is_over(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # no attempt takes time: none is put off
    client = Client()
    run = MLflowRun(client, Place("here", registered_model=""), "a")
    client.is_away = True
    run.log_metrics({"epoch": 0, "val_f1": 0.25})
    run.log_metrics({"epoch": 0, "val_accuracy": 0.25})
    assert client.calls > 1  # but it is said once
    client.is_away = False
    run.finish(HISTORY, tmp_path)
    assert sorted(client.told) == sorted(
        (name, int(row["epoch"]), value)
        for row in HISTORY
        for name, value in row.items()
        if name != "epoch"
    )
    assert client.statuses == ["FINISHED"]
    assert caplog.text.count("MLflow cannot be told") == 1


@mlflow_warns
def test_a_run_that_goes_on_sends_no_figure_twice_and_is_running_again(tmp_path):
    client = Client([("val_f1", 1, 0.25)])
    run = MLflowRun(client, Place("here", registered_model=""), "a", is_resumed=True)
    run.log_metrics({"epoch": 0, "val_f1": 0.25, "val_accuracy": 0.25})
    run.log_metrics({"epoch": 1, "val_f1": 0.75})
    assert client.statuses == ["RUNNING"]
    assert client.told == [("val_f1", 1, 0.25), ("val_accuracy", 1, 0.25), ("val_f1", 2, 0.75)]


@mlflow_warns
def test_a_silent_server_is_asked_a_twentieth_of_the_time(monkeypatch):
    client, clock = Client(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow(*_, **__):
        client.calls += 1
        clock[0] += 30
        raise TimeoutError("silent")

    client.log_batch = slow
    run = MLflowRun(client, Place("here"), "a")
    for epoch in range(100):
        clock[0] += 10
        run.log_metrics({"epoch": epoch, "val_f1": 0.5})
    assert client.calls == 2  # of 1,000 s of training


@pytest.mark.parametrize(
    ("error", "status"), [(SystemExit(143), "KILLED"), (ValueError("no"), "FAILED")]
)
def test_a_run_that_ends_badly_says_so(tmp_path, error, status):
    client = Client()
    run = MLflowRun(client, Place("here"), "a")
    with pytest.raises(type(error)), tracked([run], HISTORY, BEST, tmp_path):
        raise error
    assert client.statuses == [status]


def test_the_registered_model_is_the_experiments_unless_it_is_named():
    address = {"MLFLOW_TRACKING_URI": "sqlite:///x"}
    named = address | {"MLFLOW_EXPERIMENT_NAME": "scenes"}
    assert Place.from_environ({}) is None
    assert Place.from_environ(address).registered_model == "visionloop"
    assert Place.from_environ(named).registered_model == "scenes"
    assert Place.from_environ(named | {"MLFLOW_REGISTERED_MODEL": ""}).registered_model == ""


@mlflow_warns
def test_a_database_of_this_machine_has_its_artifacts_beside_it(tmp_path, monkeypatch):
    """A job has a folder of its own, and the first job's would have been the experiment's."""
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text("{}")
    place = Place(f"sqlite:///{tmp_path}/mlflow.db", "scenes", "scenes")
    run = open_run(place, tmp_path / "checkpoints", PARAMETERS, {"code_version": "abc"})
    run.finish(HISTORY, bundle)
    told = run.client.get_run(run.run_id)
    assert told.info.status == "FINISHED"
    assert told.data.tags["code_version"] == "abc"
    assert told.data.metrics["val_f1"] == BEST["val_f1"]
    version = run.client.get_model_version("scenes", "1")
    assert Path(version.source).is_relative_to(tmp_path / "mlartifacts" / "scenes")
    assert (Path(version.source) / "bundle.json").read_text() == "{}"
    assert not list((tmp_path / "job").iterdir())
