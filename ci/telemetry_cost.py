"""What telemetry costs, in processor time: the part of bench_serving that noise cannot hide.

Two servers, with and without telemetry, differ by some percent for as long as they live,
telemetry or not, so that one percent of latency is never seen between them. What telemetry
does is known, however, and each part can be timed: reports of workers and of the front by
themselves, thousands of times; the collector and its drift tests by the system, in a server
under load. On a saturated machine latency grows by their share of all processor time.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ci.load import Target, measure
from ci.served import Running
from components.inference.inbox import Inbox
from components.inference.keeper import Keeper
from components.inference.records import RequestRecord
from components.inference.reporter import Reporter
from components.inference.telemetry import Telemetry
from components.inference.thinning import Tally, Thinner
from components.inference.wire import pack_replies, unpack_replies
from shared.vision.bundle import Bundle
from shared.vision.drift import DriftDetector
from shared.vision.predictor import Predictor
from shared.vision.service import PredictionService, Request, Work

# The component's defaults: records_per_s, metrics_interval_s, drift_interval_s.
_PER_S, _METRICS_S, _DRIFT_S = 50.0, 60, 300
_TEST_S = 15  # between drift tests while they are timed, so that there are some
FLAGS = ("--metrics-interval-s", str(_METRICS_S), "--drift-interval-s", str(_TEST_S))
_ROUNDS = 5
_CLIENTS = 16
_BATCH = 8  # what a worker gets of them


def report_ms(bundle: Bundle, images: Sequence[bytes]) -> dict[str, float]:
    """Return processor time of a request's reports in a batch, here: best of five rounds."""
    predictor = Predictor(bundle, engine="auto", threads=1)
    classes = predictor.classes
    asked = [Request(image, "image/jpeg", f"id-{n}") for n, image in enumerate(images)]
    works = PredictionService(predictor, "version").answer(asked)
    detector = DriftDetector.load(bundle.folder / "detector")
    with tempfile.TemporaryDirectory(prefix="v-") as name:
        folder = Path(name)
        with _Listener(folder / "socket"):
            sender = Telemetry(folder / "socket")
            tally = Tally(sender, lambda *_: None)

            def worker(is_chosen: bool) -> Callable[[Sequence[Work]], bytes]:
                keeper = Keeper(folder, per_day=0)  # what is kept is the queue's cost
                how = (detector, 0.1, sender, lambda: is_chosen, keeper)
                reporter = Reporter(classes, "version", *how)
                return lambda batch: pack_replies([], reporter.report(batch))

            def front_whole(batch: Sequence[Work]) -> None:
                for work in batch:
                    kind, name = work.request.content_type, work.request.request_id
                    sender.send(RequestRecord(time.time(), name, 200, "", 1.0, 9, kind))

            told = worker(is_chosen=False)(works[:_BATCH])

            def front_counted(batch: Sequence[Work]) -> None:
                for _ in batch:
                    tally.count(StatusClass="2xx")
                tally.add(unpack_replies(told)[1])

            jobs = {
                "worker, whole": worker(is_chosen=True),
                "worker, counted": worker(is_chosen=False),
                "front, whole": front_whole,
                "front, counted": front_counted,
            }
            return {name: round(_best_ms(job, works), 4) for name, job in jobs.items()}


def share_under_load(
    instance: Running, target: Target, workers: int, reports: dict[str, float], seconds: float
) -> dict[str, float]:
    """Return processor time an image, in ms, of telemetry's parts and of all, and its share.

    instance: a server started with FLAGS; drift tests are told as rare as they are by default.
    """
    measure(target, _CLIENTS, 3.0, warm_s=0)  # the collector has begun and the sample is small
    before = instance.cpu_s()
    images = len(measure(target, _CLIENTS, seconds, warm_s=0).latencies_ms)
    spent = {role: used - before.get(role, 0.0) for role, used in instance.cpu_s().items()}
    by_role = {role: 1e3 * used / images for role, used in spent.items()}
    parts = {
        "collector": by_role.get("collector", 0.0),
        "drift tests": by_role.pop("drift test", 0.0) * _TEST_S / _DRIFT_S,
        "workers": _mean_ms(reports, "worker", images / seconds / workers),
        "front": _mean_ms(reports, "front", images / seconds),
    }
    total = sum(by_role.values()) + parts["drift tests"]
    return {name: round(ms, 4) for name, ms in parts.items()} | {
        "all processes": round(total, 3),
        "telemetry's share": round(sum(parts.values()) / total, 4),
    }


def _mean_ms(reports: dict[str, float], who: str, rate: float) -> float:
    """Return the mean cost of a report at so many requests a second in one process."""
    share: float = Thinner.share_of(_PER_S, rate)
    return share * reports[f"{who}, whole"] + (1 - share) * reports[f"{who}, counted"]


def _best_ms(job: Callable[[Sequence[Work]], object], works: Sequence[Work]) -> float:
    best = float("inf")
    batches = [works[start : start + _BATCH] for start in range(0, len(works), _BATCH)]
    for _ in range(_ROUNDS):
        started = time.thread_time()
        for batch in batches:
            job(batch)
        best = min(best, time.thread_time() - started)
    return 1e3 * best / len(works)


class _Listener:
    """A collector's ear without a collector: takes messages away, in a thread."""

    def __init__(self, path: Path) -> None:
        self._inbox = Inbox(path)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._inbox.close()

    def _listen(self) -> None:
        while not self._is_over.is_set():
            if self._inbox.wait(0.05):
                for _ in self._inbox.messages():
                    pass
