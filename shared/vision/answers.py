"""From predictions to the bytes of a response: JSON, JSON lines or a NumPy array.

    {"model_version": "3", "request_id": "...", "is_drift": false, "predictions": [
        {"label": "b", "confidence": 0.9, "entropy": 0.33, "probabilities": {"a": 0.1, "b": 0.9}}]}

JSON lines carry one prediction a line, each with the request's own fields; an array holds
float32 [images, classes] alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.vision.payload import ARRAY_TYPE, JSON_LINES_TYPE, Options

_DECIMALS = 6


@dataclass(frozen=True)
class Context:
    """What a response says beside the predictions.

    is_drift: whether the last window of the endpoint drifted; None before the first.
    """

    model_version: str
    request_id: str
    is_drift: bool | None = None

    def fields(self) -> dict[str, Any]:
        return {
            "model_version": self.model_version,
            "request_id": self.request_id,
            "is_drift": self.is_drift,
        }


def entropies(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return Shannon's entropy in nats of each row: float32 [n]; 0 is certain."""
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return np.asarray(-(probabilities * logarithms).sum(axis=1), dtype=np.float32)


def predictions(
    classes: Sequence[str],
    probabilities: npt.NDArray[np.float32],
    options: Options,
    explanations: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return one document an image.

    probabilities: float32 [n, classes], in the order of `classes`.
    """
    documents = []
    for number, (row, entropy) in enumerate(
        zip(probabilities.tolist(), entropies(probabilities).tolist(), strict=True)
    ):
        best = max(range(len(row)), key=row.__getitem__)
        document: dict[str, Any] = {
            "label": classes[best],
            "confidence": round(row[best], _DECIMALS),
            "entropy": round(entropy, _DECIMALS),
        }
        if options.top_k:
            ranked = sorted(range(len(row)), key=lambda i: -row[i])[: options.top_k]
            document["top"] = [
                {"label": classes[i], "probability": round(row[i], _DECIMALS)} for i in ranked
            ]
        else:
            document["probabilities"] = {
                name: round(p, _DECIMALS) for name, p in zip(classes, row, strict=True)
            }
        if explanations:
            document["explanation"] = explanations[number]
        documents.append(document)
    return documents


def encode(
    documents: Sequence[Mapping[str, Any]],
    probabilities: npt.NDArray[np.float32],
    context: Context,
    content_type: str,
) -> bytes:
    """Write a response's body in one of the types that are offered."""
    if content_type == ARRAY_TYPE:
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(probabilities, dtype=np.float32), allow_pickle=False)
        return stream.getvalue()
    if content_type == JSON_LINES_TYPE:
        lines = (json.dumps({**context.fields(), **document}) for document in documents)
        return "".join(f"{line}\n" for line in lines).encode()
    return json.dumps({**context.fields(), "predictions": documents}).encode()
