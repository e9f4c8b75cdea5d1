"""What a worker does: load the bundle, prove it on the golden images, answer batches.

Takes the place of the toolkit's Transformer, whose `transform` reads the headers of the
first request for a whole batch and sends stack traces to clients.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
from sagemaker_inference.transformer import Transformer

from components.inference.cores import keep_to_a_core
from components.inference.device import nth_device
from components.inference.drift_flag import DriftFlag
from components.inference.heap import HeapTrimmer
from components.inference.keeper import Keeper
from components.inference.lifeline import end_with
from components.inference.reporter import Reporter
from components.inference.review_rules import ReviewRules, RulesFile, rules_path
from components.inference.settings import WorkerSettings
from components.inference.slices import ask_for_slice
from components.inference.telemetry import Telemetry
from components.inference.thinning import Thinner
from components.inference.wire import Reply, pack_replies, unpack_requests
from shared.component.errors import VisionloopError
from shared.component.objects import ObjectReader
from shared.vision.bundle import Bundle, open_bundle
from shared.vision.drift import DriftDetector
from shared.vision.golden import GoldenImage, check_golden, read_golden
from shared.vision.payload import S3Images
from shared.vision.predictor import Predictor
from shared.vision.service import PredictionService, Request

log = logging.getLogger(__name__)
_GRACE_S = 1.0


class ImageTransformer(Transformer):  # type: ignore[misc]  # the toolkit has no types
    """The toolkit's seam between its handler service and a model."""

    def __init__(self) -> None:
        super().__init__()
        self._reporter: Reporter | None = None

    def validate_and_initialize(self, model_dir: str = "", context: Any = None) -> None:
        """Load the model; where workers are forked, each proves it after its fork."""
        if self._initialized:
            return
        # It would log the time of every batch, for Java to parse.
        logging.getLogger("mms.service").setLevel(logging.WARNING)
        # A client is told what is wrong with an image; it need not fill our log, too.
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        self._settings = WorkerSettings.from_environ()
        if not self._settings.fork and (starter := parent_process()) and starter.pid:
            end_with(starter.pid)
        gpu = context.system_properties.get("gpu_id") if context else None
        try:
            with open_bundle(Path(model_dir)) as bundle:
                self._load(bundle, nth_device(self._settings.device, gpu))
            self._prove()
        except (VisionloopError, OSError, RuntimeError) as err:
            self._settings.failure.write_text(f"inference: {err}")
            raise
        if self._settings.fork:
            gc.freeze()  # a collection would touch, and so copy, what the workers share
            os.register_at_fork(after_in_child=partial(self._begin_forked, os.getpid()))
        else:
            self._begin()
        self._initialized = True

    def transform(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:  # noqa: ARG002
        """Answer the batches of the front; each request in them has its own status."""
        # multi-model-server replaces a worker that takes too long, and leaves it running.
        signal.setitimer(signal.ITIMER_REAL, self._settings.timeout_s + _GRACE_S)
        try:
            answers = [self._answer(bytes(body["body"])) for body in data]
            self._trim_heap()
            return answers
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _answer(self, batch: bytes) -> bytes:
        now_ns = time.monotonic_ns()
        requests = unpack_requests(batch)
        works = self._service.answer(
            [
                Request(body, head.content_type, head.request_id, head.accept, head.attributes)
                for head, body in requests
            ]
        )
        answered = []
        for (head, _), work in zip(requests, works, strict=True):
            work.phases_ms["queue"] = (now_ns - head.received_ns) / 1e6
            if not (work.error or head.is_probe):
                answered.append(work)
        counts = self._reporter.report(answered) if self._reporter else {}
        replies = [Reply(work.status, work.content_type, work.error, work.body) for work in works]
        return pack_replies(replies, counts)

    def _load(self, bundle: Bundle, device: str) -> None:
        settings = self._settings
        self._predictor = Predictor(
            bundle, device, engine=settings.engine, threads=1, is_frozen=True
        )
        self._golden: list[GoldenImage] = read_golden(bundle)
        has_detector = (bundle.folder / "detector" / "detector.json").is_file()
        self._detector = DriftDetector.load(bundle.folder / "detector") if has_detector else None
        self._service = PredictionService(
            self._predictor,
            settings.model_version,
            S3Images(settings.buckets, ObjectReader()),
            DriftFlag(settings.state / "drift.json"),
        )

    def _prove(self) -> None:
        """Answer the golden images, or at least one blank."""
        if self._golden:
            check_golden(
                self._golden, lambda data: self._predictor.predict([data]).probabilities[0]
            )
            return
        size = self._predictor.transform.image_size
        self._predictor.predict_pixels(np.zeros((1, size, size, 3), np.uint8))

    def _begin_forked(self, loader: int) -> None:
        end_with(loader)
        self._begin()

    def _begin(self) -> None:
        """Start as a worker: prove the model in this very process, then report."""
        if self._settings.has_cores:
            keep_to_a_core(Path(self._settings.run))
        ask_for_slice()  # what passes messages has a shorter one
        self._trim_heap = HeapTrimmer()
        try:
            self._prove()
        except VisionloopError as err:
            self._settings.failure.write_text(f"inference: {err}")
            os._exit(1)  # in a forked child an exception would be ignored
        if self._settings.has_telemetry:
            self._reporter = self._make_reporter()

    def _make_reporter(self) -> Reporter:
        settings, review, keeper = self._settings, self._settings.review, None
        if review.is_kept:
            given = ReviewRules(review.min_confidence, review.sampling_interval)
            rules = RulesFile(rules_path(settings.state), given)
            keeper = Keeper(settings.spool, rules, review.per_day)
        return Reporter(
            self._predictor.classes,
            settings.model_version,
            self._detector,
            review.embedding_share,
            Telemetry(settings.socket),
            Thinner(settings.records_per_s).is_chosen,
            keeper,
        )
