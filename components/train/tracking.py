"""Where a run is written down: TensorBoard always, MLflow where an address is set.

`loggers` gives Lightning what it logs to; `tracked` writes down how the run came out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from components.train.mlflow_run import MLflowRun, Place, open_run
from shared.component.layout import Layout
from shared.component.version import code_version
from shared.vision.dataset import DatasetInfo

# A folder of its own: TensorBoard takes every curve beside a session for a metric of it, and a
# curve's last point for its value, while the last epoch is not the one whose weights are kept.
KEPT = "kept"
METRICS = ("val_f1", "val_accuracy")


class Board(TensorBoardLogger):
    """TensorBoard's event files, and the run as a session of its HParams tab.

    Lightning's log_hyperparams would write metrics of zero and call the session done before
    it began. Here a session begins with its parameters and ends with the kept epoch's figures;
    a run that goes on in the same folder begins it again, which TensorBoard takes for one. It
    names no list of parameters, so that TensorBoard makes one of all runs, with those first
    that differ.
    """

    def __init__(self, logs: Path) -> None:
        super().__init__(logs, name="", version="", default_hp_metric=False)
        self._session: SummaryWriter | None = None
        self._steps_an_epoch = 0.0

    def begin(self, parameters: Mapping[str, object]) -> None:
        """Begin the session."""
        values = dict(parameters)
        self.log_hyperparams(values)  # hparams.yaml
        _, start, _ = hparams(values, dict.fromkeys(METRICS, 0.0))
        self._session = SummaryWriter(Path(self.root_dir) / KEPT)
        self._write(start)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        if step is not None and "epoch" in metrics:
            self._steps_an_epoch = (step + 1) / (metrics["epoch"] + 1)

    def end(self, best: Mapping[str, float]) -> None:
        """End the session with the kept epoch's figures, a dot where the curves have them."""
        if self._session is None:
            raise RuntimeError("train: a session ends that never began")
        step = max(0, round(best["epoch"] * self._steps_an_epoch) - 1)
        for name in METRICS:
            self._session.add_scalar(name, best[name], step)
        self._write(_session_end(Status.STATUS_SUCCESS))
        self._session.close()

    def _write(self, summary: Summary) -> None:
        if self._session is not None:
            self._session._get_file_writer().add_summary(summary)
            self._session.flush()


def loggers(
    logs: Path,
    checkpoints: Path,
    parameters: Mapping[str, object],
    data: DatasetInfo,
    layout: Layout,
    environ: Mapping[str, str] = os.environ,
) -> list[Logger]:
    """Return the run's loggers; the first process tells them what the run is.

    logs: folder of the event files. checkpoints: of this very run.
    parameters: all that shapes the run, by name.

    Raises:
        StorageError: an MLflow is named and does not answer.
    """
    board = Board(logs)
    if not _is_first_process(layout, environ):
        return [board]  # Lightning lets only the first one write
    values = {name: _plain(value) for name, value in parameters.items()}
    found: list[Logger] = [board]
    if place := Place.from_environ(environ):
        tags = {
            "code_version": code_version("train"),  # over the sources; an image has no git
            "dataset_fingerprint": data.fingerprint,
            "test_fingerprint": data.test_fingerprint,
            "host": layout.instance().first_host,
        }
        found.append(open_run(place, checkpoints, values, tags))
    board.begin(values)
    return found


@contextmanager
def tracked(
    loggers: Sequence[Logger],
    history: Sequence[Mapping[str, float]],
    best: Mapping[str, float],
    bundle: Path,
) -> Iterator[None]:
    """Write down how a run came out as the block, which writes the bundle, ends.

    history: one mapping of figures an epoch; best: of the epoch whose weights are kept.
    """
    runs = [logger for logger in loggers if isinstance(logger, MLflowRun)]
    try:
        yield
    except BaseException:
        for run in runs:
            run.finalize("failed")
        raise
    for logger in loggers:
        if isinstance(logger, Board):
            logger.end(best)
    for run in runs:
        run.finish(history, bundle)


def _is_first_process(layout: Layout, environ: Mapping[str, str]) -> bool:
    """Tell before there is a Trainer: Lightning starts the others with a LOCAL_RANK."""
    return layout.instance().index == 0 and environ.get("LOCAL_RANK", "0") == "0"


def _plain(value: object) -> float | str:
    """Return a number or a word; TensorBoard would show a truth as 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _session_end(status: int) -> Summary:
    content = HParamsPluginData(
        session_end_info=SessionEndInfo(status=status, end_time_secs=time.time())
    )
    tag = metadata.SESSION_END_INFO_TAG
    return Summary(
        value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))]
    )
