"""python -m ci soak: many clients for minutes, right requests among wrong ones.

Every answer is checked to be the one for its request. The memory of every process of the
server is sampled; after a warm-up a line is fitted by least squares through the median of
every minute, in MB an hour with its standard error, so that growth can be told from noise.
(Workers give free memory back once a minute and take it again, and a drift test comes and
goes: a minute's median does not depend on when.) A short run is fitted through all samples.
One JSON document on stdout and one line on stderr; exit status 1 where an answer was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import importlib
import json
import math
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ci.served import Running, ours, running
from shared.component.errors import VisionloopError
from shared.vision.bundle import Bundle, open_bundle
from shared.vision.golden import TOLERANCE, GoldenImage, read_golden

_SAMPLE_S = 1.0
_WARM_SHARE = 0.2  # of the time: heaps grow to their working size first
_WINDOW_S = 60.0
_JSON, _IMAGE = "application/json", "application/x-image"


@dataclass(frozen=True)
class Question:
    """A request and its right answer.

    confidence: of each image, where the status is 200.
    """

    body: bytes
    content_type: str
    status: int
    confidences: tuple[float, ...] = ()

    def is_right(self, status: int, body: bytes) -> bool:
        """Tell whether an answer is the right one."""
        document = json.loads(body)
        if status != self.status:
            return False
        if status != 200:
            return set(document) == {"error", "message", "request_id"}
        said = [prediction["confidence"] for prediction in document["predictions"]]
        return len(said) == len(self.confidences) and all(
            abs(a - b) <= TOLERANCE for a, b in zip(said, self.confidences, strict=True)
        )


@dataclass
class Found:
    """What the clients saw; first_wrong: status and start of the first wrong answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    first_wrong: str = ""


@dataclass
class Memory:
    """Samples of one process: seconds since the start, PSS and RSS in MB."""

    name: str
    seconds: list[float] = field(default_factory=list)
    pss_mb: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    """Soak and print; exit status 0, or 1 where an answer was wrong."""
    arguments = _parse(argv)
    seconds = 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as scratch, _bundle(arguments.model, scratch) as bundle:
        golden = read_golden(bundle)
        if not golden:
            raise VisionloopError("soak: the bundle has no golden images; give one of register")
        flags = (
            "--sink",
            f"{scratch}/sink",
            "--metrics-interval-s",
            "5",
            "--drift-interval-s",
            "5",
        )
        server = ours(bundle.folder.resolve(), "soak", *flags)
        with running(server, golden[0].data) as instance:
            document = asyncio.run(soak(instance, questions(golden), arguments.clients, seconds))
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    total = document["memory"]["all"]["pss"]
    sys.stderr.write(
        f"soak: {document['requests']} requests, wrong={document['wrong']}, "
        f"pss_slope={total['mb_per_hour']} +- {total['standard_error']} MB/h\n"
    )
    return 1 if document["wrong"] or not document["requests"] else 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ci soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", help="a bundle with golden images; default: one that knows colours"
    )
    parser.add_argument("--minutes", type=float, default=10, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, help="default: %(default)s")
    return parser.parse_args(argv)


def _bundle(model: str | None, scratch: str) -> AbstractContextManager[Bundle]:
    if model:
        return open_bundle(Path(model))
    made = importlib.import_module("shared.vision.tests.served")  # imports torch
    return contextlib.nullcontext(made.make_served_bundle(Path(scratch, "bundle"), has_onnx=True))


def questions(golden: Sequence[GoldenImage]) -> list[Question]:
    """Return right requests of every kind and wrong ones, one in four."""
    found = []
    for image in golden:
        confidence = max(image.probabilities)
        found += [Question(image.data, _IMAGE, 200, (confidence,))] * 2
        found.append(Question(image.data[: len(image.data) // 3], _IMAGE, 422))
    everything = [{"b64": base64.b64encode(image.data).decode()} for image in golden]
    found.append(
        Question(
            json.dumps({"instances": everything}).encode(),
            _JSON,
            200,
            tuple(max(image.probabilities) for image in golden),
        )
    )
    return [
        *found,
        Question(golden[0].data, "text/plain", 415),
        Question(b'{"instances": [{"b64": "*"}]}', _JSON, 400),
        Question(b"[" * 10_000, _JSON, 400),
    ]


async def soak(
    instance: Running, asked: Sequence[Question], clients: int, seconds: float
) -> dict[str, Any]:
    """Ask from so many clients for so long; return counts and slopes."""
    found = Found()
    memories: dict[int, Memory] = {}
    start = time.monotonic()
    tasks = [
        asyncio.create_task(_client(instance.port, asked, number, start + seconds, found))
        for number in range(clients)
    ]
    while time.monotonic() < start + seconds:
        _sample(instance.pid, time.monotonic() - start, memories)
        await asyncio.sleep(min(_SAMPLE_S, seconds / 20))
    await asyncio.gather(*tasks)
    requests = sum(found.statuses.values())
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": requests,
        "requests_per_s": round(requests / seconds, 1),
        "statuses": {str(status): n for status, n in sorted(found.statuses.items())},
        "wrong": found.wrong,
        "first_wrong": found.first_wrong,
        "memory": _slopes(memories, _WARM_SHARE * seconds),
    }


async def _client(
    port: int, asked: Sequence[Question], number: int, end: float, found: Found
) -> None:
    number *= 5  # each begins elsewhere, so that batches are mixed
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            for _ in range(100):  # then a new connection
                if time.monotonic() >= end:
                    return
                question = asked[number % len(asked)]
                number += 1
                try:
                    status, body = await _exchange(reader, writer, question)
                except (OSError, EOFError) as err:
                    status, body = 0, repr(err).encode()
                found.statuses[status] += 1
                if status == 0 or not question.is_right(status, body):
                    found.wrong += 1
                    found.first_wrong = found.first_wrong or f"{status} {body[:300]!r}"
                if status == 0:
                    break


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, question: Question
) -> tuple[int, bytes]:
    head = (
        f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: {question.content_type}\r\n"
        f"content-length: {len(question.body)}\r\n\r\n"
    )
    writer.write(head.encode() + question.body)
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), await reader.readexactly(int(fields["content-length"]))


def _sample(pid: int, seconds: float, memories: dict[int, Memory]) -> None:
    """Add a sample of every process of the server, and one of them together under 0."""
    whole = memories.setdefault(0, Memory("all"))
    pss_sum = rss_sum = 0.0
    for process in _family(pid):
        try:
            info = process.memory_full_info()
            name = _name(process)
        except psutil.Error:  # it ended meanwhile
            continue
        memory = memories.setdefault(process.pid, Memory(name))
        pss, rss = info.pss / 1e6, info.rss / 1e6
        memory.seconds.append(seconds)
        memory.pss_mb.append(pss)
        memory.rss_mb.append(rss)
        pss_sum, rss_sum = pss_sum + pss, rss_sum + rss
    whole.seconds.append(seconds)
    whole.pss_mb.append(pss_sum)
    whole.rss_mb.append(rss_sum)


def _family(pid: int) -> Iterator[psutil.Process]:
    root = psutil.Process(pid)
    yield root
    yield from root.children(recursive=True)


def _name(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    known = {
        "ModelServer": "java",
        "model_service_worker": "worker",
        "inference.collector": "collector",
        "drift_child": "drift test",
        "components.inference": "front",
    }
    return next((name for word, name in known.items() if word in words), process.name())


def _slopes(memories: dict[int, Memory], warm_s: float) -> dict[str, Any]:
    """Return by process what its memory did after the warm-up; short-lived ones are left out."""
    found: dict[str, Any] = {}
    last_s = max(memories[0].seconds, default=0.0)
    for pid, memory in memories.items():
        kept = [number for number, second in enumerate(memory.seconds) if second >= warm_s]
        is_lasting = kept and memory.seconds[-1] > last_s - 2 * _SAMPLE_S
        if len(kept) < 3 or not is_lasting or memory.seconds[0] > warm_s:
            continue
        seconds = [memory.seconds[number] for number in kept]
        found[f"{memory.name} {pid}" if pid else memory.name] = {
            kind: _fit(*medians(seconds, [values[number] for number in kept]))
            for kind, values in (("pss", memory.pss_mb), ("rss", memory.rss_mb))
        }
    return found


def medians(
    seconds: Sequence[float], values: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return the middle of each whole minute and its median value; all where they are few."""
    first = seconds[0]
    windows = int((seconds[-1] - first + _SAMPLE_S) // _WINDOW_S)
    if windows < 3:
        return seconds, values
    held: dict[int, list[float]] = {}
    for second, value in zip(seconds, values, strict=True):
        held.setdefault(int((second - first) // _WINDOW_S), []).append(value)
    whole = [window for window in sorted(held) if window < windows]
    return (
        [first + _WINDOW_S * (window + 0.5) for window in whole],
        [statistics.median(held[window]) for window in whole],
    )


def _fit(seconds: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """Return the least-squares slope an hour, its standard error, first and last value."""
    slope, error = slope_of([second / 3600 for second in seconds], values)
    return {
        "mb_per_hour": round(slope, 2),
        "standard_error": round(error, 2),
        "first_mb": round(values[0], 1),
        "last_mb": round(values[-1], 1),
        "samples": len(values),
    }


def slope_of(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return slope and standard error of the least-squares line through at least 3 points."""
    n, mean_x, mean_y = len(x), math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    residual = math.fsum(
        (b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True)
    )
    return slope, math.sqrt(residual / (n - 2) / spread)
