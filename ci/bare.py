"""The limit of serving: the bare predictor in processes of its own, with nothing around it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from shared.vision.bundle import open_bundle
from shared.vision.predictor import Predictor

_WARM_UP = 20  # images
_PATIENCE_S = 60.0


class Bare:
    """Processes that decode, transform and answer images, one at a time, when told to."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    def rate(self, seconds: float) -> float:
        """Return images a second of all of them together."""
        for connection in self._connections:
            connection.send(seconds)
        return sum(float(connection.recv()) for connection in self._connections)


@contextmanager
def bare(
    bundle: Path, images: Sequence[bytes], engine: str, device: str, count: int
) -> Iterator[Bare]:
    """Start the processes, and end them with the block.

    engine: torchscript or onnx; "torchscript, frozen".
    """
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_serve, args=(str(bundle), list(images), engine, device, theirs))
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    connections = [ours for ours, _ in pairs]
    try:
        for connection in connections:
            connection.recv()  # it is warm
        yield Bare(connections)
    finally:
        for connection in connections:
            connection.close()
        for _, theirs in pairs:
            theirs.close()
        for process in processes:
            process.join(_PATIENCE_S)


def _serve(
    folder: str, images: Sequence[bytes], engine: str, device: str, connection: Connection
) -> None:
    name, _, frozen = engine.partition(", ")
    with open_bundle(Path(folder)) as bundle:
        predictor = Predictor(bundle, device, name, threads=1, is_frozen=bool(frozen))
    for image in images[:_WARM_UP]:
        predictor.predict([image])
    connection.send(0.0)
    done = 0
    while (seconds := _next(connection)) is not None:
        before, started = done, time.perf_counter()
        while time.perf_counter() - started < seconds:
            predictor.predict([images[done % len(images)]])
            done += 1
        connection.send((done - before) / (time.perf_counter() - started))


def _next(connection: Connection) -> float | None:
    try:
        return float(connection.recv())
    except EOFError:  # the other end has closed
        return None
