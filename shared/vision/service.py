"""The prediction service: requests in, responses out, whatever carries them.

The endpoint's handler and the Lambda handler both answer through `PredictionService`, so
a request means the same, and fails the same, on every road. Requests that arrive together
share one forward pass; one that is wrong spoils no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.vision import answers
from shared.vision.errors import ImageError, encode_error
from shared.vision.images import ImageFacts, decode_with_facts
from shared.vision.occlusion import occlusion_map
from shared.vision.payload import (
    JSON_TYPE,
    Options,
    PayloadTooLarge,
    Picture,
    RequestError,
    S3Images,
    UndecodableImage,
    choose_response_type,
    read_images,
)
from shared.vision.predictor import Predictions, Predictor
from shared.vision.transforms import prepare_pixels, seen_area

log = logging.getLogger(__name__)
# Decoded, in one request: seconds of a worker, and a small file holds 80 million. A JPEG is
# decoded scaled, so a hundred photos of 12 million have less.
_MAX_PIXELS = 100_000_000
_MAX_EXPLAINED = 8  # images of one request: fifty forward passes each


@dataclass(frozen=True)
class Request:
    """One request as the transport gives it; `attributes` are SageMaker's custom ones."""

    body: bytes
    content_type: str
    request_id: str
    accept: str = ""
    attributes: str = ""


@dataclass
class Work:
    """A request on its way, with what telemetry wants to know of it.

    data: encoded images, b"" where pixels came in an array; facts: None there.
    labels, confidences: index of the most probable class and its probability, an image each.
    areas: what the model sees of each image, as `seen_area` says; where that is asked for.
    phases_ms: wall time of decode, forward and encode; forward is the whole batch's.
    """

    request: Request
    options: Options = field(default_factory=Options)
    response_type: str = JSON_TYPE
    data: list[bytes] = field(default_factory=list)
    facts: list[ImageFacts | None] = field(default_factory=list)
    pixels: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    predictions: Predictions | None = None
    labels: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    areas: list[tuple[float, float, float, float]] = field(default_factory=list)
    explanations: list[dict[str, Any]] = field(default_factory=list)
    phases_ms: dict[str, float] = field(default_factory=dict)
    status: int = 200
    error: str = ""
    content_type: str = JSON_TYPE
    body: bytes = b""

    def fail(self, status: int, error: str, message: str) -> None:
        """Make this the answer: an error, as JSON."""
        self.status, self.error, self.content_type = status, error, JSON_TYPE
        self.body = encode_error(error, message, self.request.request_id)


class PredictionService:
    """A predictor that speaks HTTP's bodies and types."""

    def __init__(
        self,
        predictor: Predictor,
        model_version: str,
        s3: S3Images | None = None,
        is_drift: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._predictor = predictor
        self._model_version = model_version
        self._s3 = s3
        self._is_drift = is_drift

    def answer(self, requests: Sequence[Request]) -> list[Work]:
        """Answer requests together; each has its own status, and none raises."""
        works = [self._received(request) for request in requests]
        sound = [work for work in works if not work.error]
        started = time.perf_counter()
        try:
            self._forward(sound)
        except (RuntimeError, ValueError, MemoryError) as err:  # an engine's own
            log.exception("forward failed: %s", err)
            for work in sound:
                work.fail(500, "Internal", "the model failed")
        forward_ms = 1e3 * (time.perf_counter() - started)
        for work in sound:
            if not work.error:
                work.phases_ms["forward"] = forward_ms
                self._encode(work)
        return works

    def _received(self, request: Request) -> Work:
        work = Work(request)
        started = time.perf_counter()
        try:
            work.response_type = choose_response_type(request.accept)
            work.options = Options.parse(request.attributes)
            images = read_images(request.body, request.content_type, self._s3)
            if work.options.explain and len(images) > _MAX_EXPLAINED:
                raise PayloadTooLarge(f"explain=true takes at most {_MAX_EXPLAINED} images")
            left = _MAX_PIXELS
            for number, image in enumerate(images):
                left -= self._decode(work, number, image, len(images))
                if left < 0:
                    raise PayloadTooLarge(
                        f"more than {_MAX_PIXELS:,} pixels in one request; send fewer images"
                    )
        except RequestError as err:
            work.fail(err.status, type(err).__name__, str(err))
        except MemoryError:
            log.exception("out of memory while decoding")
            work.fail(507, "OutOfMemory", "out of memory; send fewer or smaller images")
        except Exception:  # the request's edge: those it arrived with are answered
            log.exception("request %s fails in a way nobody foresaw", request.request_id)
            work.fail(500, "Internal", "the request failed; its id is in the log")
        work.phases_ms["decode"] = 1e3 * (time.perf_counter() - started)
        return work

    def _decode(self, work: Work, number: int, picture: Picture, total: int) -> int:
        """Add an image to the work and return how many pixels were decoded."""
        spec = self._predictor.transform
        facts = None
        if isinstance(picture, Image.Image):
            image, data = picture, b""
        else:
            try:
                image, facts = decode_with_facts(picture, at_least=2 * spec.resize_side)
            except ImageError as err:
                where = f"image {number + 1} of {total}: " if total > 1 else ""
                raise UndecodableImage(f"{where}{err}") from err
            data = picture
        work.data.append(data)
        work.facts.append(facts)
        work.pixels.append(prepare_pixels(image, spec))
        if work.options.explain:
            work.areas.append(seen_area(image.size, spec))
        return image.width * image.height

    def _forward(self, works: Sequence[Work]) -> None:
        pixels = [image for work in works for image in work.pixels]
        if not pixels:
            return
        said = self._predictor.predict_pixels(np.stack(pixels))
        labels, confidences = said.labels.tolist(), said.confidences.tolist()  # of all at once
        start = 0
        for work in works:
            rows = slice(start, start + len(work.pixels))
            start = rows.stop
            work.predictions = Predictions(
                said.logits[rows], said.probabilities[rows], said.embeddings[rows]
            )
            work.labels, work.confidences = labels[rows], confidences[rows]
            if work.options.explain:
                seen = zip(work.pixels, work.areas, strict=True)
                work.explanations = [self._explain(pixels, area) for pixels, area in seen]

    def _encode(self, work: Work) -> None:
        started = time.perf_counter()
        assert work.predictions is not None  # noqa: S101 - _forward has set it
        probabilities = work.predictions.probabilities
        documents = answers.predictions(
            self._predictor.classes, probabilities, work.options, work.explanations
        )
        context = answers.Context(self._model_version, work.request.request_id, self._is_drift())
        work.content_type = work.response_type
        work.body = answers.encode(documents, probabilities, context, work.response_type)
        work.phases_ms["encode"] = 1e3 * (time.perf_counter() - started)

    def _explain(
        self, pixels: npt.NDArray[np.uint8], area: tuple[float, float, float, float]
    ) -> dict[str, Any]:
        found = occlusion_map(self._predictor, pixels)
        shown = [round(part, 6) for part in area]
        return {"method": "occlusion", "map": found.round(6).tolist(), "area": shown}
