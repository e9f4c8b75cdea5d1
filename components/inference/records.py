"""What travels from the front and the workers to the collector: one record, one message.

JSON in utf-8, since the request path pays for building and sending a record: this
costs some ten microseconds, and the collector can refuse what it does not understand.
Read by collector.py, sent by telemetry.py.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.component.errors import VisionloopError

# A message of any size is one piece of kernel memory, and a plain machine's socket
# buffer holds 208 KiB; what is larger is sent in parts.
LARGEST_MESSAGE = 128 << 10


class RecordError(VisionloopError):
    """A message is no record."""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a request.

    sha256: of the encoded image, "" when nothing needed it.
    format: of the encoded image, for example JPEG; width, height: pixels as sent.
    bytes: encoded size.
    confidence: in [0, 1]; entropy: nats; probabilities: in the bundle's order.
    features: the row that DriftDetector.features gives, empty without a detector.
    embedding: base64 of float16, "" unless sampled for the prediction log.
    kept: file name in the spool folder when the image was put there, else "".
    reasons: why it was to be kept: low_confidence, sampled. With `kept` empty it was lost.
    """

    sha256: str
    format: str
    width: int
    height: int
    bytes: int
    label: str
    confidence: float
    entropy: float
    probabilities: Sequence[float] = ()
    features: Sequence[float] = ()
    embedding: str = ""
    kept: str = ""
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What a worker says of one request.

    time: seconds since the epoch.
    phases_ms: milliseconds by phase: queue, decode, forward, encode; empty in the
        further parts of an answer that did not fit one message.
    dropped: messages this sender lost since the last one that got through.
    """

    time: float
    request_id: str
    model_version: str
    phases_ms: Mapping[str, float] = field(default_factory=dict)
    images: Sequence[ImageRecord] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What the front says of one request.

    time: seconds since the epoch; status: HTTP; error: kind, "" when all was well.
    dropped: messages this sender lost since the last one that got through.
    """

    time: float
    request_id: str
    status: int
    error: str
    total_ms: float
    bytes_in: int
    content_type: str
    dropped: int = 0


Record = AnswerRecord | RequestRecord


def encode(record: Record, dropped: int) -> bytes:
    """Return a record as it travels, with the sender's count of lost messages."""
    if isinstance(record, RequestRecord):
        document = {name: getattr(record, name) for name in _REQUEST_TYPES}
    else:
        document = {name: getattr(record, name) for name in _ANSWER_TYPES}
        document["images"] = [
            {name: getattr(image, name) for name in _IMAGE_TYPES} for image in record.images
        ]
    document["dropped"] = dropped
    return _ENCODER.encode(document).encode()


def decode(data: bytes) -> Record:
    """Read what `encode` wrote.

    Raises:
        RecordError: the bytes are no record, or a number in it is none.
    """
    try:
        document = json.loads(data)
        if "status" in document:
            return RequestRecord(**_typed(document, _REQUEST_TYPES))
        images = tuple(ImageRecord(**_typed(i, _IMAGE_TYPES)) for i in document.pop("images"))
        return AnswerRecord(images=images, **_typed(document, _ANSWER_TYPES))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise RecordError(
            f"record: {len(data)} bytes are no record: {err!r:.200}; send it with Telemetry"
        ) from err


def is_sampled(request_id: str, share: float) -> bool:
    """Tell whether a request belongs to a share in [0, 1]; every process says the same."""
    return zlib.crc32(request_id.encode()) < share * 2**32


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(map(_finite, values))


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(map(str, values))


def _phases(values: Any) -> dict[str, float]:
    return {str(name): _finite(value) for name, value in values.items()}


_IMAGE_TYPES = {
    "sha256": str,
    "format": str,
    "width": int,
    "height": int,
    "bytes": int,
    "label": str,
    "confidence": _finite,
    "entropy": _finite,
    "probabilities": _floats,
    "features": _floats,
    "embedding": str,
    "kept": str,
    "reasons": _texts,
}
_ANSWER_TYPES = {
    "time": _finite,
    "request_id": str,
    "model_version": str,
    "phases_ms": _phases,
    "dropped": int,
}
_REQUEST_TYPES = {
    "time": _finite,
    "request_id": str,
    "status": int,
    "error": str,
    "total_ms": _finite,
    "bytes_in": int,
    "content_type": str,
    "dropped": int,
}
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _typed(document: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    return {name: convert(document[name]) for name, convert in types.items()}
