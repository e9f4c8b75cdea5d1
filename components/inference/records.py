"""What travels from the front and the workers to the collector: one record, one message.

The request path pays for building and sending a record, so that every microsecond
counts. Records are named tuples, which JSON takes as lists at C speed (a dataclass turned
into a dict costs three times as much), and arrays of numbers travel as base64 of their
bytes (34 floats as JSON text cost 20 us, packed less than 1). Read by collector.py, sent
by telemetry.py.
"""

from __future__ import annotations

import binascii
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from shared.component.errors import VisionloopError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# A message of any size is one piece of kernel memory, and a plain machine's socket
# buffer holds 208 KiB; what is larger is sent in parts.
LARGEST_MESSAGE = 128 << 10


class RecordError(VisionloopError):
    """A message is no record."""


class ImageRecord(NamedTuple):
    """One image of a request.

    sha256: of the encoded image, "" when nothing needed it.
    format: of the encoded image, for example JPEG; width, height: pixels as sent.
    bytes: encoded size.
    confidence: in [0, 1]; entropy: nats.
    probabilities: packed float32, in the bundle's order.
    features: packed float32, the row that DriftDetector.features gives, "" without a
        detector.
    embedding: packed float16, "" unless sampled for the prediction log.
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
    probabilities: str = ""
    features: str = ""
    embedding: str = ""
    kept: str = ""
    reasons: Sequence[str] = ()


class AnswerRecord(NamedTuple):
    """What a worker says of one request.

    time: seconds since the epoch.
    phases_ms: milliseconds by phase: queue, decode, forward, encode; empty in the
        further parts of an answer that did not fit one message.
    is_sample: drawn at random; False: sent because an image was kept, and so for the
        counts, the log and the review queue alone.
    dropped: messages this sender lost since the last one that got through.
    """

    time: float
    request_id: str
    model_version: str
    phases_ms: Mapping[str, float]
    images: Sequence[ImageRecord]
    is_sample: bool = True
    dropped: int = 0


class RequestRecord(NamedTuple):
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


class TallyRecord(NamedTuple):
    """Requests and images that are not told one by one (thinning.py).

    counts: by dimension (StatusClass, ErrorKind, Label, ImageFormat) and name.
    """

    time: float
    counts: Mapping[str, Mapping[str, int]]
    dropped: int = 0


Record = AnswerRecord | RequestRecord | TallyRecord
Counts = dict[str, dict[str, int]]  # by dimension and name, as in a TallyRecord
Number = TypeVar("Number", "np.float16", "np.float32")


def pack(values: npt.NDArray[Number]) -> str:
    """Return the bytes of a contiguous array as text; its type is agreed upon, not told."""
    return binascii.b2a_base64(values.data, newline=False).decode()


def unpack(text: str, kind: type[Number]) -> npt.NDArray[Number]:
    """Return the array, one-dimensional, that `pack` was given.

    Raises:
        RecordError: the text is no whole number of such values, or one is not finite.
    """
    import numpy as np  # not at the top: the front, which packs nothing, has no NumPy

    try:
        values = np.frombuffer(binascii.a2b_base64(text), kind)
    except ValueError as err:
        raise RecordError(f"record: no packed {kind.__name__}: {err}; use records.pack") from err
    if not np.isfinite(values).all():
        raise RecordError("record: a packed number is not finite; send finite numbers only")
    return values


def probabilities_of(image: ImageRecord) -> list[float]:
    """Return the probabilities, to six digits.

    Raises:
        RecordError: they are not what was agreed upon.
    """
    try:
        data = binascii.a2b_base64(image.probabilities)
        values = struct.unpack(f"<{len(data) // 4}f", data)  # for a few, 5 us less than numpy
        _check_number(sum(values))
    except (ValueError, struct.error) as err:
        raise RecordError(f"record: no packed probabilities: {err}; use records.pack") from err
    return [round(value, 6) for value in values]


def encode(record: Record, dropped: int) -> bytes:
    """Return a record as it travels, with the sender's count of lost messages."""
    return _ENCODER.encode((dropped, record)).encode()


def decode(data: bytes) -> Record:
    """Read what `encode` wrote; packed arrays are looked at when they are unpacked.

    Raises:
        RecordError: the bytes are no record, or a number in it is none.
    """
    try:
        dropped, values = _DECODER.decode(data.decode())
        if len(values) == len(RequestRecord._fields):
            return _request(values, dropped)
        if len(values) == len(TallyRecord._fields):
            return _tally(values, dropped)
        return _answer(values, dropped)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as err:
        raise RecordError(
            f"record: {len(data)} bytes are no record: {err!r:.200}; send it with Telemetry"
        ) from err


def is_sampled(request_id: str, share: float) -> bool:
    """Tell whether a request belongs to a share in [0, 1]; every process says the same."""
    return zlib.crc32(request_id.encode()) < share * 2**32


def _request(values: list[Any], dropped: int) -> RequestRecord:
    record = RequestRecord(*values[:-1], dropped)
    _check_texts(record.request_id, record.error, record.content_type)
    _check_number(record.time + record.total_ms + record.bytes_in + dropped)
    if type(record.status) is not int:
        raise TypeError("status is no integer")
    return record


def _answer(values: list[Any], dropped: int) -> AnswerRecord:
    *fields, images, is_sample, _ = values
    record = AnswerRecord(*fields, [_image(image) for image in images], is_sample is True, dropped)
    _check_texts(record.request_id, record.model_version)
    _check_number(record.time + dropped + sum(record.phases_ms.values()))
    return record


def _tally(values: list[Any], dropped: int) -> TallyRecord:
    record = TallyRecord(*values[:-1], dropped)
    for dimension, names in record.counts.items():
        _check_texts(dimension, *names)
        _check_number(record.time + dropped + sum(names.values()))
    return record


def _image(values: list[Any]) -> ImageRecord:
    image = ImageRecord(*values)
    _check_texts(image.sha256, image.format, image.label, image.kept, *image.reasons)
    _check_texts(image.probabilities, image.features, image.embedding)
    _check_number(image.width + image.height + image.bytes + image.confidence + image.entropy)
    return image


def _check_texts(*values: str) -> None:
    "".join(values)  # a TypeError unless each is a string, at the price of one call


def _check_number(total: float) -> None:
    """Refuse a sum of which one part was no number, or not finite."""
    if not math.isfinite(total):
        raise ValueError("a number is not finite")


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse)  # NaN and Infinity
