"""The train component as a process that writes down which images its batches were made of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.train.loader import BatchKey, EpochBatches, OrderedBatches
from shared.component.runtime import main


def _watched(original: Callable[[Any], Iterator[BatchKey]], split: str) -> Callable[[Any], Any]:
    def iterate(self: Any) -> Iterator[BatchKey]:
        path = Path(os.environ["SEEN"]) / f"{split}-{os.environ['NODE_RANK']}.jsonl"
        for key in original(self):
            with path.open("a") as stream:
                row = {"epoch": key.seed[1], "images": key.indices.tolist()}
                stream.write(json.dumps(row) + "\n")
            yield key

    return iterate


if __name__ == "__main__":
    EpochBatches.__iter__ = _watched(EpochBatches.__iter__, "train")  # type: ignore[method-assign]
    OrderedBatches.__iter__ = _watched(OrderedBatches.__iter__, "val")  # type: ignore[method-assign]
    raise SystemExit(main(Path(__file__).parents[1]))
