"""TorchServe's handler; a service file of its archive."""

from __future__ import annotations

from typing import Any

from ci.peers.answer import answer, load_predictor


class Handler:
    """What TorchServe calls: initialize once, handle with a batch."""

    def initialize(self, context: Any) -> None:
        self.predictor = load_predictor()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        return [answer(self.predictor, bytes(row.get("body") or row["data"])) for row in data]


_HANDLER = Handler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:
    """TorchServe's entry point: without data it is the call to initialise."""
    if data is None:
        _HANDLER.initialize(context)
        return None
    return _HANDLER.handle(data, context)
