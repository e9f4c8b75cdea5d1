"""Forward passes a second by batch size and by how many run at once, for a benchmark.

On a GPU each that runs at once has a CUDA stream of its own; on a CPU, a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from shared.vision.predictor import Predictor

BATCHES = (1, 8, 32, 64)
LANES = (1, 2, 4)


def forward_rates(
    predictor: Predictor,
    seconds: float,
    batches: Sequence[int] = BATCHES,
    lanes: Sequence[int] = LANES,
) -> dict[str, dict[str, float]]:
    """Return images a second by batch size and by lanes: copies there and back included.

    seconds: of each measurement.
    """
    return {
        f"batches of {size}": {
            f"{count} at once": round(_rate(predictor, size, count, seconds), 1) for count in lanes
        }
        for size in batches
    }


def _rate(predictor: Predictor, size: int, lanes: int, seconds: float) -> float:
    side = predictor.transform.image_size
    images = np.random.default_rng(0).standard_normal((size, 3, side, side), np.float32)
    done, begin = [0] * lanes, threading.Barrier(lanes + 1)
    end = [0.0]

    def work(lane: int) -> None:
        with _stream(predictor):
            for _ in range(3):  # the first passes choose and compile
                predictor.engine.forward(images)
            begin.wait()
            begin.wait()
            while time.perf_counter() < end[0]:
                predictor.engine.forward(images)
                done[lane] += size

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(lanes)]
    for thread in threads:
        thread.start()
    begin.wait()
    started = time.perf_counter()
    end[0] = started + seconds
    begin.wait()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


def _stream(predictor: Predictor) -> AbstractContextManager[Any]:
    device = getattr(predictor.engine, "device", None)
    if device is None or device.type == "cpu":
        return nullcontext()
    import torch

    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return torch.cuda.stream(stream)
