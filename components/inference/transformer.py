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
from pathlib import Path
from typing import Any

import numpy as np
from sagemaker_inference.transformer import Transformer

from components.inference.drift_flag import DriftFlag
from components.inference.keeper import Keeper, Kept
from components.inference.lifeline import end_with_java
from components.inference.records import AnswerRecord, ImageRecord, is_sampled, pack
from components.inference.review_rules import ReviewRules, RulesFile, rules_path
from components.inference.settings import WorkerSettings
from components.inference.telemetry import NoTelemetry, RecordSender, Telemetry
from components.inference.thinning import Thinner
from components.inference.wire import Reply, pack_replies, unpack_requests
from shared.component.errors import VisionloopError
from shared.component.objects import ObjectReader
from shared.vision.answers import entropies
from shared.vision.bundle import Bundle, open_bundle
from shared.vision.drift import DriftDetector
from shared.vision.golden import GoldenImage, check_golden, read_golden
from shared.vision.images import ImageFacts
from shared.vision.payload import S3Images
from shared.vision.predictor import Predictions, Predictor
from shared.vision.service import PredictionService, Request, Work

log = logging.getLogger(__name__)
_GRACE_S = 1.0


class ImageTransformer(Transformer):  # type: ignore[misc]  # the toolkit has no types
    """The toolkit's seam between its handler service and a model."""

    def __init__(self) -> None:
        super().__init__()
        self._telemetry: RecordSender = NoTelemetry()
        self._thinner: Thinner | None = None
        self._keeper: Keeper | None = None

    def validate_and_initialize(self, model_dir: str = "", context: Any = None) -> None:
        """Load the model; where workers are forked, each proves it after its fork."""
        if self._initialized:
            return
        # It would log the time of every batch, for Java to parse.
        logging.getLogger("mms.service").setLevel(logging.WARNING)
        # A client is told what is wrong with an image; it need not fill our log, too.
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        self._settings = WorkerSettings.from_environ()
        if self._settings.fork:  # else this is a child of what Java started
            end_with_java()
        gpu = (context.system_properties.get("gpu_id") if context else None) or 0
        try:
            with open_bundle(Path(model_dir)) as bundle:
                self._load(bundle, "cpu" if self._settings.fork else f"cuda:{gpu}")
            self._prove()
        except (VisionloopError, OSError, RuntimeError) as err:
            self._settings.failure.write_text(f"inference: {err}")
            raise
        if self._settings.fork:
            gc.freeze()  # a collection would touch, and so copy, what the workers share
            os.register_at_fork(after_in_child=self._begin)
        else:
            self._begin()
        self._initialized = True

    def transform(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:  # noqa: ARG002
        """Answer the batches of the front; each request in them has its own status."""
        # multi-model-server replaces a worker that takes too long, and leaves it running.
        signal.setitimer(signal.ITIMER_REAL, self._settings.timeout_s + _GRACE_S)
        try:
            return [pack_replies(self._answer(bytes(body["body"]))) for body in data]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _answer(self, batch: bytes) -> list[Reply]:
        now_ns = time.monotonic_ns()
        requests = unpack_requests(batch)
        works = self._service.answer(
            [
                Request(body, head.content_type, head.request_id, head.accept, head.attributes)
                for head, body in requests
            ]
        )
        replies = []
        for (head, _), work in zip(requests, works, strict=True):
            work.phases_ms["queue"] = (now_ns - head.received_ns) / 1e6
            is_told = work.error or head.is_probe or not work.options.record
            uncounted = [] if is_told else self._report(work)
            replies.append(Reply(work.status, work.content_type, work.error, work.body, uncounted))
        return replies

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

    def _begin(self) -> None:
        """Start as a worker: prove the model in this very process, then report."""
        try:
            self._prove()
        except VisionloopError as err:
            self._settings.failure.write_text(f"inference: {err}")
            os._exit(1)  # in a forked child an exception would be ignored
        if self._settings.has_telemetry:
            self._telemetry = Telemetry(self._settings.socket)
            self._thinner = Thinner(self._settings.records_per_s)
        review = self._settings.review
        if review.is_kept:
            given = ReviewRules(review.min_confidence, review.sampling_interval)
            rules = RulesFile(rules_path(self._settings.state), given)
            self._keeper = Keeper(self._settings.spool, rules)

    def _report(self, work: Work) -> list[tuple[str, str]]:
        """Report a request, or return its images' labels and formats for the front to count."""
        said = work.predictions
        if self._thinner is None or said is None:
            return []
        is_sample = self._thinner.is_chosen()
        kept = self._kept(work, said)
        if not is_sample and not any(one.reasons for one in kept):
            classes = self._predictor.classes
            images = zip(said.labels.tolist(), work.facts, strict=True)
            return [(classes[label], _format_of(facts)) for label, facts in images]
        self._telemetry.send(
            AnswerRecord(
                time=time.time(),
                request_id=work.request.request_id,
                model_version=self._settings.model_version,
                phases_ms=work.phases_ms,
                images=self._image_records(work, said, kept),
                is_sample=is_sample,
            )
        )
        return []

    def _kept(self, work: Work, said: Predictions) -> list[Kept]:
        """Keep what people should look at; every image is considered, reported or not."""
        if self._keeper is None:
            return [Kept()] * len(work.data)
        consider = self._keeper.consider
        return [
            consider(data, facts.format.lower(), confidence) if facts else Kept()
            for data, facts, confidence in zip(
                work.data, work.facts, said.confidences.tolist(), strict=True
            )
        ]

    def _image_records(self, work: Work, said: Predictions, kept: list[Kept]) -> list[ImageRecord]:
        features = [""] * len(work.data)
        if self._detector is not None:
            found = self._detector.features(said.embeddings, said.logits)
            features = [pack(row) for row in found]
        embeddings = [""] * len(work.data)
        if is_sampled(work.request.request_id, self._settings.review.embedding_share):
            embeddings = [pack(row) for row in said.embeddings.astype(np.float16)]
        entropy = entropies(said.probabilities).tolist()
        labels, confidences = said.labels.tolist(), said.confidences.tolist()
        return [
            ImageRecord(
                sha256=kept[n].sha256,
                format=_format_of(facts),
                width=facts.width if facts else 0,
                height=facts.height if facts else 0,
                bytes=len(data),
                label=self._predictor.classes[labels[n]],
                confidence=confidences[n],
                entropy=entropy[n],
                probabilities=pack(said.probabilities[n]),
                features=features[n],
                embedding=embeddings[n],
                kept=kept[n].kept,
                reasons=kept[n].reasons,
            )
            for n, (data, facts) in enumerate(zip(work.data, work.facts, strict=True))
        ]


def _format_of(facts: ImageFacts | None) -> str:
    return facts.format if facts else "pixels"
