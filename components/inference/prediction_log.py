"""The prediction log: one JSON line an image, in compressed parts.

Keys are predictions/YYYY/MM/DD/HH/<time>-<random>.jsonl.gz, in UTC, of the time the part
was begun. A part is put when it is whole; a collector that is killed loses the one it was
at, `log_part_s` of traffic at most.
"""

from __future__ import annotations

import gzip
import json
import secrets
import time

from components.inference.outbox import Outbox, Parcel
from components.inference.records import AnswerRecord, ImageRecord, is_sampled, probabilities_of

_PART_BYTES = 4 << 20  # before compression: what is held in memory
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class PredictionLog:
    """Collects lines, hands whole parts to the outbox.

    part_s: seconds a part covers at most; share: of the requests logged, in [0, 1].
    """

    def __init__(self, outbox: Outbox, part_s: float, share: float) -> None:
        self._outbox = outbox
        self._part_s = part_s
        self._share = share
        self._lines: list[bytes] = []
        self._bytes = 0
        self._begun = 0.0

    def add(self, answer: AnswerRecord, now_s: float) -> None:
        """Log the images of an answer; now_s: seconds since the epoch."""
        if not is_sampled(answer.request_id, self._share):
            return
        if not self._lines:
            self._begun = now_s
        for image in answer.images:
            line = _ENCODER.encode(_entry(answer, image)).encode()
            self._lines.append(line)
            self._bytes += len(line) + 1
        if self._bytes >= _PART_BYTES:
            self.flush()

    def tick(self, now_s: float) -> None:
        """Close the part when its time is up."""
        if self._lines and now_s - self._begun >= self._part_s:
            self.flush()

    def flush(self) -> None:
        """Hand over what there is."""
        if not self._lines:
            return
        data = gzip.compress(b"\n".join([*self._lines, b""]), compresslevel=1, mtime=0)
        begun = time.gmtime(self._begun)
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', begun)}-{secrets.token_hex(4)}.jsonl.gz"
        key = f"predictions/{time.strftime('%Y/%m/%d/%H', begun)}/{name}"
        self._outbox.add(Parcel(key, data, len(data)))
        self._lines, self._bytes = [], 0


def _entry(answer: AnswerRecord, image: ImageRecord) -> dict[str, object]:
    entry = {
        "request_id": answer.request_id,
        "time": answer.time,
        "model_version": answer.model_version,
        "label": image.label,
        "confidence": image.confidence,
        "entropy": image.entropy,
        "probabilities": probabilities_of(image),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "sha256": image.sha256,
    }
    if image.embedding:
        entry["embedding"] = image.embedding  # base64 of float16
    return entry
