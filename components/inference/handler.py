"""The handler that multi-model-server loads: the toolkit's service, with our transformer.

A function and not a class: of a class the server swallows what `initialize` raises, and
reports a worker as ready that has no model.
"""

from __future__ import annotations

from typing import Any

from sagemaker_inference.default_handler_service import DefaultHandlerService

from components.inference.transformer import ImageTransformer

_SERVICE = DefaultHandlerService(transformer=ImageTransformer())


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes]:
    """Load the model (`data` is None: the server's way to say so) or answer a batch."""
    if data is None:
        _SERVICE.initialize(context)
        return []
    answers: list[bytes] = _SERVICE.handle(data, context)
    return answers
