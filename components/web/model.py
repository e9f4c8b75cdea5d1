"""The deployed model, as the pages ask it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.web.errors import Away, Failed, ModelRefused, Waking
from shared.component.feedback import Prediction
from shared.component.invoke import Ask, ModelAwayError, ModelRefusedError

log = logging.getLogger(__name__)
_TOLD = (400, 413, 415, 422)  # whose messages are meant for whoever sent the image


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    probabilities: in [0, 1], by label, in the model's order. entropy: nats.
    explanation: method, map and area, as shared/vision/service.py has them; None: not asked.
    endpoint_ms: how long the model took, the way there and back included.
    """

    label: str
    confidence: float
    entropy: float
    probabilities: Mapping[str, float]
    model_version: str
    request_id: str
    is_drift: bool | None
    explanation: Mapping[str, Any] | None
    endpoint_ms: float

    @property
    def shown(self) -> Prediction:
        return Prediction(self.model_version, self.probabilities, self.request_id)


@dataclass(frozen=True)
class Model:
    """Asks through `ask`, and turns what goes wrong into what a visitor may read."""

    ask: Ask

    def __call__(self, image: bytes, explain: bool) -> Answer:
        """Return the model's answer to an encoded image.

        Raises:
            ModelRefused: it takes no such image.
            Waking, Away, Failed: nobody answers, or not as our models do.
        """
        started = time.perf_counter()
        try:
            document = self.ask(image, "explain=true" if explain else "")
        except ModelRefusedError as err:
            if err.status in _TOLD:
                raise ModelRefused(err.status, err.said) from err
            log.warning("model: %s", err)
            raise Failed("the model failed on this image; try another one") from err
        except ModelAwayError as err:
            log.warning("model: %s", err)
            if err.is_waking:
                raise Waking("the model is being started; this takes a minute at most") from err
            raise Away("no model answers here now; if this lasts, tell those who run it") from err
        return _read(document, 1e3 * (time.perf_counter() - started))


def _read(document: Mapping[str, Any], endpoint_ms: float) -> Answer:
    try:
        (said,) = document["predictions"]
        return Answer(
            label=str(said["label"]),
            confidence=float(said["confidence"]),
            entropy=float(said["entropy"]),
            probabilities={str(n): float(p) for n, p in said["probabilities"].items()},
            model_version=str(document["model_version"]),
            request_id=str(document["request_id"]),
            is_drift=document["is_drift"],
            explanation=said.get("explanation"),
            endpoint_ms=endpoint_ms,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        log.warning("model: an odd answer: %r", err)
        raise Failed("what answers here is no model of this system") from err
