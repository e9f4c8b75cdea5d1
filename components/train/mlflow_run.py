"""A run in MLflow: parameters, figures by epoch, the bundle, a registered version.

variable                default              meaning
MLFLOW_TRACKING_URI     none: no MLflow      http(s)://, sqlite:///, or a managed server's ARN
MLFLOW_EXPERIMENT_NAME  visionloop           what the run is filed under
MLFLOW_REGISTERED_MODEL the experiment's     model that gets a version; empty: none, as for trials
TRAINING_JOB_NAME       none                 the platform's name of this job, which names the run

Who asks for MLflow and does not reach it learns so before anything is trained. From then on
the training is worth more than its record: what cannot be sent waits, and goes with the next
epoch or at the end. Trying costs at most a twentieth of the time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger

from shared.component.errors import StorageError
from shared.component.files import write_json

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)
ARTIFACT = "model"  # folder of the bundle among a run's artifacts
_DEFAULT_EXPERIMENT = "visionloop"
_RUN_FILE = "mlflow-run.json"  # beside the checkpoint: who resumes it goes on in that run
_PROBE_S = 5.0
# Of MLflow's own 7 repetitions and 120 s a silent server would cost a quarter of an hour a call.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
_PAUSE = 20  # times as long as the attempt that failed
# Where sagemaker-mlflow is installed it warns at every call to a server that is not SageMaker's:
# https://github.com/aws/sagemaker-mlflow/issues/15
_HEADERS = "mlflow.tracking.request_header.registry"
_METRICS_A_CALL, _PARAMETERS_A_CALL = 1000, 100  # MLflow's limits of log-batch


@dataclass(frozen=True)
class Place:
    """Where MLflow is told of a run; registered_model empty: no version is registered."""

    tracking_uri: str
    experiment: str = _DEFAULT_EXPERIMENT
    registered_model: str = _DEFAULT_EXPERIMENT
    job: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Place | None:
        """Return None where no address is set."""
        experiment = environ.get("MLFLOW_EXPERIMENT_NAME") or _DEFAULT_EXPERIMENT
        address = environ.get("MLFLOW_TRACKING_URI")
        if not address:
            return None
        model = environ.get("MLFLOW_REGISTERED_MODEL", experiment)
        return cls(address, experiment, model, environ.get("TRAINING_JOB_NAME", ""))


class MLflowRun(Logger):
    """The run as Lightning's logger; opened by `open_run`.

    is_resumed: the run existed; what it holds already is not sent again.
    """

    def __init__(
        self, client: MlflowClient, place: Place, run_id: str, is_resumed: bool = False
    ) -> None:
        super().__init__()
        self.client, self.place, self.run_id = client, place, run_id
        self._pending: list[Any] = []
        self._known: set[tuple[str, int]] | None = None if is_resumed else set()
        self._next_try = 0.0
        self._warned: set[str] = set()

    @property
    def name(self) -> str:
        return self.place.experiment

    @property
    def version(self) -> str:
        return self.run_id

    def log_hyperparams(self, *_: object, **__: object) -> None:
        """Do nothing: parameters were told when the run was opened."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:  # noqa: ARG002
        """Take an epoch's figures; their step is the epoch, counted from 1 as in the report."""
        figures = dict(metrics)
        self.add(int(figures.pop("epoch", 0)) + 1, figures)

    def add(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Send figures of an epoch, now or when the server is back."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._pending += [
            Metric(key, float(value), now_ms, epoch) for key, value in figures.items()
        ]
        if time.monotonic() >= self._next_try:
            self.attempt("the figures wait", self._send)

    def attempt(self, otherwise: str, call: Callable[[], object]) -> bool:
        """Call MLflow; where that fails say once what follows, and return False."""
        began = time.monotonic()
        try:
            call()
        except _failures() as err:
            now = time.monotonic()
            self._next_try = now + _PAUSE * (now - began)
            if otherwise not in self._warned:
                log.warning("MLflow cannot be told, %s: %s", otherwise, _line(err))
            self._warned.add(otherwise)
            return False
        self._warned.clear()
        return True

    def finish(self, history: Sequence[Mapping[str, float]], bundle: Path) -> None:
        """Send what is missing and the bundle, register the version, end the run."""
        for row in history:
            self.add(int(row["epoch"]), {k: v for k, v in row.items() if k != "epoch"})
        self.attempt(f"run {self.run_id} lacks what was made", lambda: self._hand_over(bundle))
        self.end("FINISHED")

    def end(self, status: str) -> None:
        """End the run: FINISHED, FAILED, or KILLED, which a resumed run takes back."""
        self.attempt("its run stays open", lambda: self._set_status(status))

    def finalize(self, status: str) -> None:
        """Tell MLflow of a fit that ends by an error; after a good one the bundle is to come."""
        if status != "success":
            is_stopped = isinstance(sys.exception(), SystemExit | KeyboardInterrupt)
            self.end("KILLED" if is_stopped else "FAILED")

    def _hand_over(self, bundle: Path) -> None:
        self._send()
        self.client.log_artifacts(self.run_id, str(bundle), ARTIFACT)
        if self.place.registered_model:
            self._register()
        log.info("mlflow: run %s in experiment %s", self.run_id, self.place.experiment)

    def _register(self) -> None:
        name = self.place.registered_model
        _unless_it_exists(lambda: self.client.create_registered_model(name))
        if self.client.search_model_versions(f"name='{name}' and run_id='{self.run_id}'"):
            return  # interrupted just after it
        source = f"{self.client.get_run(self.run_id).info.artifact_uri}/{ARTIFACT}"
        version = self.client.create_model_version(name, source, self.run_id)
        log.info("mlflow: %s version %s", name, version.version)

    def _set_status(self, status: str) -> None:
        self._send()
        self.client.set_terminated(self.run_id, status)

    def _send(self) -> None:
        """Send each pending figure once."""
        if self._known is None:
            self._known = self._told()
        new = {(m.key, m.step): m for m in self._pending if (m.key, m.step) not in self._known}
        for batch in _parts(list(new.values()), _METRICS_A_CALL):
            self.client.log_batch(self.run_id, metrics=batch)
        self._known |= new.keys()
        self._pending.clear()

    def _told(self) -> set[tuple[str, int]]:
        """Return which figures of which epochs MLflow has, and say that the run goes on."""
        self.client.update_run(self.run_id, status="RUNNING")
        return {
            (metric.key, metric.step)
            for key in self.client.get_run(self.run_id).data.metrics
            for metric in self.client.get_metric_history(self.run_id, key)
        }


def open_run(
    place: Place, checkpoints: Path, parameters: Mapping[str, object], tags: Mapping[str, str]
) -> MLflowRun:
    """Open a run, or the one that this checkpoint's training began.

    checkpoints: folder of this very run's checkpoints.

    Raises:
        StorageError: MLflow does not answer, or refuses. A run that goes on does without.
    """
    for name, value in {**_PATIENCE, **_QUIET}.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if not place.tracking_uri.startswith("arn:"):
        logging.getLogger(_HEADERS).setLevel(logging.ERROR)
    try:
        client = MlflowClient(place.tracking_uri)
        if run_id := _known_run(place, checkpoints):
            log.info("mlflow: going on in run %s", run_id)
            run = MLflowRun(client, place, run_id, is_resumed=True)
            run.add(0, {})
            return run
        _probe(place.tracking_uri)
        run_id = _create(client, place, parameters, tags)
    except (*_failures(), ImportError) as err:  # sqlite needs all of mlflow
        raise StorageError(
            f"train: MLflow at {place.tracking_uri} cannot be used: {_line(err)}; start it, set "
            "MLFLOW_TRACKING_URI to another, or unset it to train without"
        ) from err
    write_json(checkpoints / _RUN_FILE, {"tracking_uri": place.tracking_uri, "run_id": run_id})
    return MLflowRun(client, place, run_id)


def _known_run(place: Place, checkpoints: Path) -> str:
    """Return the run that was begun there with the same server; else nothing."""
    path = checkpoints / _RUN_FILE
    known = json.loads(path.read_text()) if path.is_file() else {}
    return str(known["run_id"]) if known.get("tracking_uri") == place.tracking_uri else ""


def _probe(address: str) -> None:
    """See in seconds whether a server answers at all; what it answers does not matter."""
    if address.startswith(("http://", "https://")):
        import requests

        requests.get(f"{address.rstrip('/')}/health", timeout=_PROBE_S)


def _create(
    client: MlflowClient, place: Place, parameters: Mapping[str, object], tags: Mapping[str, str]
) -> str:
    from mlflow.entities import Param

    experiment = client.get_experiment_by_name(place.experiment)
    if experiment is None:  # or another trial makes it at this moment
        where = _artifacts(place)
        _unless_it_exists(lambda: client.create_experiment(place.experiment, where))
        experiment = client.get_experiment_by_name(place.experiment)
    told = {**tags, "job": place.job} if place.job else dict(tags)
    name = place.job or str(parameters["model_name"])
    run_id: str = client.create_run(experiment.experiment_id, tags=told, run_name=name).info.run_id
    params = [Param(key, str(value)) for key, value in parameters.items()]
    for batch in _parts(params, _PARAMETERS_A_CALL):
        client.log_batch(run_id, params=batch)
    return run_id


def _artifacts(place: Place) -> str | None:
    """Return where an experiment's artifacts go, None where the server says.

    Without one they would lie in the folder of the job that happened to come first.
    """
    kind, _, path = place.tracking_uri.partition(":///")
    if kind != "sqlite":
        return None
    return str(Path(path).absolute().with_name("mlartifacts") / place.experiment)


def _unless_it_exists(create: Callable[[], object]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as err:
        if err.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _failures() -> tuple[type[Exception], ...]:
    """Return what a call may fail with: MLflow, the network (an OSError), S3, credentials."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException

    return MlflowException, OSError, Boto3Error, BotoCoreError, ClientError


def _parts(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _line(err: BaseException) -> str:
    return str(err).partition("\n")[0] or type(err).__name__
