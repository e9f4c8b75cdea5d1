"""The one process that sees all of an endpoint: metrics, drift, prediction log, review.

    python -m components.inference.collector --socket P --state D --spool D --bundle D
        --sink s3://bucket/prefix --endpoint-name N --variant-name V --model-version M

Started by the server beside the workers, which never wait for it (telemetry.py). It
wakes at most every `--batch-s` and reads all that has come: handling many records at
once is what keeps it cheap. It may be killed at any time; SIGTERM makes it bring
everything away and end with status 0.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.inference.drift_watch import DriftWatch
from components.inference.emitter import Emitter
from components.inference.inbox import Inbox
from components.inference.metrics import MetricsWindow, emf_line
from components.inference.outbox import Outbox
from components.inference.prediction_log import PredictionLog
from components.inference.records import AnswerRecord, RecordError, TallyRecord, decode
from components.inference.review import Review
from components.inference.review_rules import watch_operators
from components.inference.sinks import FolderSink, Sink, open_sink
from components.inference.slices import ask_for_slice
from shared.component.errors import InputError, VisionloopError
from shared.component.logs import configure

log = logging.getLogger(__name__)
_IDLE_S = 0.5  # longest wait; SIGTERM is seen as late as that
# Requests go first: on a machine with nothing to spare records are dropped, and counted.
_NICENESS = 10
_ENDS = (signal.SIGTERM, signal.SIGINT)
_DRAIN_S = 2.0  # for what has come and was not read; senders have ended before
_CLOSE_S = 5.0  # for the sink to take what is left at the end


@dataclass(frozen=True)
class Settings:
    """The command line.

    sink: URI, "" for neither prediction log nor review images.
    log_share: of the requests, in [0, 1].
    """

    socket: Path
    state: Path
    spool: Path
    bundle: Path
    sink: str
    endpoint_name: str
    variant_name: str
    model_version: str
    metrics_interval_s: float
    drift_interval_s: float
    log_part_s: float
    log_share: float
    review_per_day: int
    batch_s: float
    operator_path: str = ""

    @property
    def dimensions(self) -> dict[str, str]:
        return {
            "EndpointName": self.endpoint_name,
            "VariantName": self.variant_name,
            "ModelVersion": self.model_version,
        }


class Collector:
    """Reads records and tells everybody their part.

    clock: seconds since the epoch.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._is_ending = False
        sink: Sink = open_sink(settings.sink)
        folder = sink.folder if isinstance(sink, FolderSink) else settings.state
        self._emitter = Emitter(folder / "metrics")
        self._outbox = Outbox(sink)
        self._log = PredictionLog(self._outbox, settings.log_part_s, settings.log_share)
        labels = _labels(settings.bundle)
        self._review = Review(self._outbox, settings.spool, settings.review_per_day, labels)
        self._metrics = MetricsWindow(settings.dimensions)
        self._operators = watch_operators(settings.operator_path, settings.state)
        self._drift = _drift_watch(settings, labels)
        self._told: dict[str, int] = {}
        self._next_lines_s = clock() + settings.metrics_interval_s
        self._inbox = Inbox(settings.socket)

    def end(self) -> None:
        """Make `run` come to its end."""
        self._is_ending = True

    def run(self) -> None:
        """Collect until `end`, then bring everything away."""
        while not self._is_ending:
            if self._inbox.wait(_IDLE_S):
                time.sleep(self._settings.batch_s)
                self.read()
            self.tick()
        self._read_to_the_end()
        self.close()

    def read(self) -> None:
        """Handle every record that has arrived."""
        now_s = self._clock()
        for message in self._inbox.messages():
            try:
                record = decode(message)
                if isinstance(record, AnswerRecord):
                    self._add_answer(record, now_s)
                elif isinstance(record, TallyRecord):
                    self._metrics.add_tally(record)
                else:
                    self._metrics.add_request(record)
            except RecordError as err:
                self._metrics.add("TelemetryMalformed", 1)
                log.debug("%s", err)

    def _read_to_the_end(self) -> None:
        """Handle what is still in the kernel, where that may be more than one turn's worth."""
        deadline_s = time.monotonic() + _DRAIN_S
        while self._inbox.wait(0) and time.monotonic() < deadline_s:
            self.read()

    def tick(self) -> None:
        """Do what is due by the clock."""
        now_s = self._clock()
        self._log.tick(now_s)
        self._review.tick(now_s)
        if self._drift and (result := self._drift.tick(now_s)):
            self._emitter.emit([self._drift_line(result, now_s)])
        if now_s >= self._next_lines_s:
            self._next_lines_s = now_s + self._settings.metrics_interval_s
            self._tell(now_s)

    def close(self) -> None:
        """Bring away metrics, log part, window."""
        self._inbox.close()
        if self._operators:
            self._operators.close()
        self._log.flush()
        if self._drift:
            self._drift.close(self._clock())
        self._outbox.close(_CLOSE_S)
        self._tell(self._clock())

    def _add_answer(self, record: AnswerRecord, now_s: float) -> None:
        self._metrics.add_answer(record)
        self._log.add(record, now_s)
        self._review.add(record, now_s)
        for image in record.images:
            if self._drift and image.features and record.is_sample:
                self._drift.add(image.features)

    def _tell(self, now_s: float) -> None:
        for name, total in self._totals().items():
            self._metrics.add(name, total - self._told.get(name, 0))
            self._told[name] = total
        self._emitter.emit(self._metrics.lines(now_s))

    def _totals(self) -> dict[str, int]:
        """Return the counts of our parts, since the start."""
        return {
            "SinkObjectsPut": self._outbox.put,
            "SinkObjectsLost": self._outbox.lost,
            "ReviewImagesKept": self._review.queued,
            "ReviewImagesRefused": self._review.refused,
            "ReviewImagesLost": self._review.orphans,
            "MetricLinesLost": self._emitter.lost,
            **({"DriftTestsFailed": self._drift.failures} if self._drift else {}),
        }

    def _drift_line(self, result: dict[str, Any], now_s: float) -> str:
        strongest, moved = result["features"][0], result["classes"][0]
        metrics = {
            "DriftPValue": ([result["p_value"]], "None"),
            "DriftDistance": ([strongest["distance"]], "None"),
            "IsDrift": ([float(result["is_drift"])], "Count"),
            "DriftWindow": ([float(result["window"])], "Count"),
        }
        is_class_mix = strongest["name"] == "class mix"
        properties = {
            "DriftFeature": strongest["name"],
            "DriftTest": "chi-squared" if is_class_mix else "Kolmogorov-Smirnov",
            "DriftThreshold": result["threshold"],
            "DriftClass": moved["label"],
            "DriftClassShare": moved["window_share"],
            "DriftClassReferenceShare": moved["reference_share"],
        }
        return emf_line(self._settings.dimensions, metrics, now_s, properties, is_watched=True)


def _labels(bundle: Path) -> list[str]:
    path = bundle / "bundle.json"
    try:
        labels: list[str] = json.loads(path.read_text())["classes"]
    except (OSError, ValueError, KeyError) as err:
        raise InputError(f"collector: {path} names no classes: {err!r}; give a bundle") from err
    return labels


def _drift_watch(settings: Settings, labels: list[str]) -> DriftWatch | None:
    """Return the drift watch of a bundle, None when it holds no detector."""
    folder = settings.bundle / "detector"
    if not (folder / "detector.json").exists():
        log.warning("drift: the bundle holds no detector; drift is not watched")
        return None
    return DriftWatch(folder, settings.state, labels, settings.drift_interval_s)


def _parse(argv: Sequence[str]) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m components.inference.collector")
    for name in ("socket", "state", "spool", "bundle"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--sink", default="", help="s3://bucket/prefix, a path, or empty")
    parser.add_argument("--operator-path", default="", help="of Parameter Store, or empty")
    for name in ("endpoint-name", "variant-name", "model-version"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--metrics-interval-s", type=float, default=60)
    parser.add_argument("--drift-interval-s", type=float, default=60)
    parser.add_argument("--log-part-s", type=float, default=300)
    parser.add_argument("--log-share", type=float, default=1, help="of the requests, 0 to 1")
    parser.add_argument("--review-per-day", type=int, default=1000)
    parser.add_argument("--batch-s", type=float, default=0.3, help="records wait so long")
    return Settings(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    """Collect until SIGTERM; exit status 0, 2 wrong usage, 1 failed."""
    configure()
    settings = _parse(sys.argv[1:] if argv is None else argv)
    # From the moment the socket is there, the end must be heard.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        collector = Collector(settings)
    except VisionloopError as err:
        log.error("%s", err)
        return err.exit_status
    except OSError as err:
        log.error("collector: cannot start: %s; check --socket, --state and --sink", err)
        return 1
    os.nice(_NICENESS)
    ask_for_slice()
    for number in _ENDS:
        signal.signal(number, lambda *_: collector.end())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
    collector.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
