"""What a worker reports of the requests it has answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from components.inference.keeper import Keeper, Kept
from components.inference.records import AnswerRecord, Counts, ImageRecord, is_sampled, pack
from components.inference.telemetry import RecordSender
from shared.vision.answers import entropies
from shared.vision.drift import DriftDetector
from shared.vision.images import ImageFacts
from shared.vision.predictor import Predictions
from shared.vision.service import Work

_NOT_KEPT = Kept()


@dataclass(frozen=True)
class Reporter:
    """Reports requests whole, or says what the front is to count of them.

    classes: in the bundle's order.
    embedding_share: of the requests reported with their embeddings, in [0, 1].
    is_chosen: tells of a request whether it is reported whole.
    keeper: keeps images for people; None: none are kept.
    """

    classes: Sequence[str]
    model_version: str
    detector: DriftDetector | None
    embedding_share: float
    sender: RecordSender
    is_chosen: Callable[[], bool]
    keeper: Keeper | None

    def report(self, works: Sequence[Work]) -> Counts:
        """Report answered requests; return what is to be counted of those not sent whole.

        Those that ask not to be reported count only for how busy this worker is.
        """
        labels: dict[str, int] = {}
        formats: dict[str, int] = {}
        for work in works:
            is_sample, said = self.is_chosen(), work.predictions
            if said is None or not work.options.record or self._is_sent(work, said, is_sample):
                continue
            for label, facts in zip(work.labels, work.facts, strict=True):
                name, kind = self.classes[label], _format_of(facts)
                labels[name] = labels.get(name, 0) + 1
                formats[kind] = formats.get(kind, 0) + 1
        return {"Label": labels, "ImageFormat": formats} if labels else {}

    def _is_sent(self, work: Work, said: Predictions, is_sample: bool) -> bool:
        kept = self._kept(work)
        if not is_sample and not any(one.reasons for one in kept):
            return False
        self.sender.send(
            AnswerRecord(
                time=time.time(),
                request_id=work.request.request_id,
                model_version=self.model_version,
                phases_ms=work.phases_ms,
                images=self._image_records(work, said, kept),
                is_sample=is_sample,
            )
        )
        return True

    def _kept(self, work: Work) -> list[Kept]:
        """Keep what people should look at; every image is considered, reported or not."""
        if self.keeper is None:
            return [_NOT_KEPT] * len(work.data)
        consider = self.keeper.consider
        return [
            consider(data, facts.format.lower(), confidence) if facts else _NOT_KEPT
            for data, facts, confidence in zip(work.data, work.facts, work.confidences, strict=True)
        ]

    def _image_records(self, work: Work, said: Predictions, kept: list[Kept]) -> list[ImageRecord]:
        features = [""] * len(work.data)
        if self.detector is not None:
            found = self.detector.features(said.embeddings, said.logits)
            features = [pack(row) for row in found]
        embeddings = [""] * len(work.data)
        if is_sampled(work.request.request_id, self.embedding_share):
            embeddings = [pack(row) for row in said.embeddings.astype(np.float16)]
        entropy = entropies(said.probabilities).tolist()
        return [
            ImageRecord(
                sha256=kept[n].sha256,
                format=_format_of(facts),
                width=facts.width if facts else 0,
                height=facts.height if facts else 0,
                bytes=len(data),
                label=self.classes[work.labels[n]],
                confidence=work.confidences[n],
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
