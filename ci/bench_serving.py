"""python -m ci bench_serving: the endpoint beside its limit and beside other servers.

One run on one machine: the same bundle, the same JPEGs, the same cores. The limit is the
predictor in as many processes as the servers have workers, with neither HTTP nor anything
else: decode, transform, forward. Everything is measured once a round, in turn, and a ratio
is that of one round; printed is the median of the rounds with the lowest and the highest.
Run it alone: anything beside it on the machine falsifies it. The load shares the cores.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ci.bare import bare
from ci.bench import machine
from ci.forward_rates import forward_rates
from ci.load import Load, Target, measure
from ci.packages import newest_approved
from ci.served import Running, Server, ours, peer, running
from ci.telemetry_cost import FLAGS, report_ms, share_under_load
from ci.telemetry_latency import latency_ratios, ratio_of
from components.inference.device import choose_device
from shared.pipeline.settings import Settings
from shared.vision import answers
from shared.vision.bundle import Bundle, open_bundle
from shared.vision.golden import read_golden
from shared.vision.images import decode_rgb
from shared.vision.payload import JSON_TYPE, Options
from shared.vision.predictor import Predictor
from shared.vision.transforms import normalise, prepare_pixels

_CLIENTS = (1, 4, 16, 64)
_PEERS = {
    "toolkit": "toolkit",
    "torchserve": "torchserve",
    "fastapi": "fastapi_app",
    "litserve": "litserve_app",
}
_ENGINES = ("torchscript", "torchscript, frozen", "onnx")
_TOLERANCE = 1e-3
_TURN_S = 1.5


@dataclass(frozen=True)
class _Case:
    """What every measurement shares: the model, what it is asked, and what it is to answer.

    expected: the confidence of each image's answer.
    """

    bundle: Bundle
    images: Sequence[bytes]
    expected: Sequence[float]
    arguments: argparse.Namespace

    @property
    def path(self) -> Path:
        return self.bundle.folder.resolve()


def main(argv: Sequence[str]) -> int:
    """Measure and print one JSON document."""
    arguments = _parse(argv)
    model = arguments.model or newest_approved(Settings.from_environ()).archive
    with open_bundle(Path(model)) as bundle, tempfile.TemporaryDirectory() as sink:
        images = _images(bundle, arguments.images)
        case = _Case(bundle, images, _expected(bundle, images), arguments)
        servers = _servers(case, Path(sink))
        results: dict[str, Any] = {"machine": machine(), "images": _facts(images)}
        results["rounds"] = [_round(servers, case) for _ in range(arguments.rounds)]
        if arguments.rounds:
            results["summary"] = _summary(results["rounds"])
        if arguments.turns:
            results["limit_turns"] = _limit_turns(case, servers[0])
        results["stages_ms"] = stages(bundle, images)
        if arguments.device != "cpu":
            predictor = Predictor(bundle, arguments.device, threads=1, is_frozen=True)
            results["gpu_images_per_s"] = forward_rates(predictor, arguments.seconds)
        if arguments.slices:
            results["telemetry_latency"] = _telemetry_latency(case, Path(sink))
        if arguments.telemetry_s:
            results["telemetry_ms"] = _telemetry_ms(servers[:2], case)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ci bench_serving", description=__doc__)
    parser.add_argument("--model", help="a final bundle; default: the newest approved package")
    parser.add_argument("--images", help="folder of JPEGs; default: the bundle's golden images")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--device",
        default=choose_device("auto", "auto"),
        choices=["cpu", "cuda"],
        help="of TorchScript, ours and the limit's; default: %(default)s, as found here",
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--turns", type=int, default=0, help="of TorchScript's limit and ours; default: none"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--drift-interval-s", default="60", help="while telemetry is compared")
    parser.add_argument(
        "--slices", type=int, default=40, help="turns of telemetry on and off; 0: none"
    )
    parser.add_argument(
        "--telemetry-s", type=float, default=60, help="of counting what it costs; 0: do not"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="FLAGS",
        help='ours once more with these flags, for example --also "--batch-size 1"',
    )
    parser.add_argument(
        "--peers", nargs="*", default=list(_PEERS), choices=list(_PEERS), help="default: all"
    )
    return parser.parse_args(argv)


def _images(bundle: Bundle, folder: str | None) -> list[bytes]:
    if folder:
        return [path.read_bytes() for path in sorted(Path(folder).rglob("*.jpg"))[:200]]
    return [image.data for image in read_golden(bundle)]


def _facts(images: Sequence[bytes]) -> dict[str, Any]:
    return {"count": len(images), "mean_bytes": round(statistics.fmean(map(len, images)))}


def _expected(bundle: Bundle, images: Sequence[bytes]) -> list[float]:
    """Return the confidence that each image must be answered with."""
    said = Predictor(bundle, threads=1).predict(images)
    return [float(confidence) for confidence in said.confidences]


def _servers(case: _Case, sink: Path) -> list[Server]:
    path, arguments = case.path, case.arguments
    workers, device = arguments.workers, arguments.device
    common = ("--workers", str(workers), "--sink", str(sink), "--metrics-interval-s", "5")
    found = [
        ours(path, "ours, TorchScript", *common, "--engine", "torchscript", "--device", device),
        ours(path, "ours, ONNX Runtime", *common, "--engine", "onnx"),
    ]
    found += [ours(path, f"ours {flags}", *common, *flags.split()) for flags in arguments.also]
    return found + [peer(name, _PEERS[name], path, workers) for name in arguments.peers]


def _round(servers: Sequence[Server], case: _Case) -> dict[str, Any]:
    """Measure the limits and every server once."""
    seconds = case.arguments.seconds
    limits = {
        engine: _limit(case, engine, "cpu" if engine == "onnx" else case.arguments.device)
        for engine in _ENGINES
    }
    found: dict[str, Any] = {"limit_images_per_s": {n: round(r, 1) for n, r in limits.items()}}
    for server in servers:
        bodies = _bodies(server, case.images)
        with running(server, bodies[0]) as instance:
            target = _target(instance, bodies, case.expected)
            loads = {clients: measure(target, clients, seconds, warm_s=1.0) for clients in _CLIENTS}
            cpu = _cpu_ms(instance, target, seconds)
            found[server.name] = {
                "cpu_ms_per_image_at_c16": cpu,
                "start_s": round(instance.start_s, 2),
                "pss_mb": round(instance.pss_mb()),
                "load": {str(c): _load(load, limits["torchscript"]) for c, load in loads.items()},
            }
        sys.stderr.write(f"{server.name}: {json.dumps(found[server.name])}\n")
    return found


def _cpu_ms(instance: Running, target: Target, seconds: float) -> dict[str, float]:
    """Return processor time an image, by what the processes are, at 16 clients."""
    before = instance.cpu_s()
    load = measure(target, 16, seconds, warm_s=0)
    spent = {name: used - before.get(name, 0.0) for name, used in instance.cpu_s().items()}
    images = len(load.latencies_ms)
    return {name: round(1e3 * used / images, 3) for name, used in spent.items() if used > 0}


def _bodies(server: Server, images: Sequence[bytes]) -> list[bytes]:
    if not server.is_json:
        return list(images)
    return [json.dumps({"b64": base64.b64encode(image).decode()}).encode() for image in images]


def _target(instance: Running, bodies: Sequence[bytes], expected: Sequence[float]) -> Target:
    kind = "application/json" if instance.server.is_json else "image/jpeg"

    def is_right(number: int, body: bytes) -> bool:
        said = json.loads(body)["predictions"][0]["confidence"]
        return bool(abs(said - expected[number]) <= _TOLERANCE)

    return Target(instance.port, instance.server.path, (("content-type", kind),), bodies, is_right)


def _load(load: Load, limit: float) -> dict[str, Any]:
    return {
        "images_per_s": round(load.rate, 1),
        "of_torchscript_limit": round(load.rate / limit, 3),
        "p50_ms": round(load.quantile_ms(0.5), 2),
        "p99_ms": round(load.quantile_ms(0.99), 2),
        "wrong": load.wrong,
    }


def _summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return median, lowest and highest ratio to the TorchScript limit, by server and clients."""
    limits = [found["limit_images_per_s"] for found in rounds]
    summary: dict[str, Any] = {
        f"limit with {name}": _spread([r[name] / r["torchscript"] for r in limits])
        for name in _ENGINES[1:]
    }
    for name in rounds[0]:
        if name == "limit_images_per_s":
            continue
        measured = [found[name] for found in rounds]
        summary[name] = {
            f"c={c}": _spread([m["load"][str(c)]["of_torchscript_limit"] for m in measured])
            for c in _CLIENTS
        }
        for figure in ("start_s", "pss_mb"):
            summary[name][figure] = _spread([m[figure] for m in measured])
        summary[name]["wrong"] = sum(x["wrong"] for m in measured for x in m["load"].values())
    return summary


def _spread(values: Sequence[float]) -> list[float]:
    """Return median, lowest and highest."""
    return [round(v, 3) for v in (statistics.median(values), min(values), max(values))]


def _telemetry_latency(case: _Case, sink: Path) -> dict[str, Any]:
    """Compare requests that are reported with others that are not, in turns on one server."""
    flags = ("--workers", str(case.arguments.workers), "--sink", str(sink))
    interval = ("--drift-interval-s", case.arguments.drift_interval_s)
    with running(ours(case.path, "on and off", *flags, *interval), case.images[0]) as instance:
        return latency_ratios(_target(instance, case.images, case.expected), case.arguments.slices)


def _telemetry_ms(servers: Sequence[Server], case: _Case) -> dict[str, Any]:
    """Return what telemetry costs of processor time, and which share that is of all."""
    reports = report_ms(case.bundle, case.images)
    found: dict[str, Any] = {"one report": reports}
    for server in servers:
        usual = replace(server, command=[*server.command, *FLAGS])
        with running(usual, case.images[0]) as instance:
            target = _target(instance, case.images, case.expected)
            how = case.arguments.workers, reports, case.arguments.telemetry_s
            found[server.name] = share_under_load(instance, target, *how)
    return found


def stages(bundle: Bundle, images: Sequence[bytes]) -> dict[str, float]:
    """Return the processor time of what a worker does with an image, stage by stage.

    Best of five rounds over the images, one thread.
    """
    plain = Predictor(bundle, engine="torchscript", threads=1)
    frozen = Predictor(bundle, engine="torchscript", threads=1, is_frozen=True)
    onnx = Predictor(bundle, engine="onnx", threads=1)
    spec = plain.transform
    decoded = [decode_rgb(image, 2 * spec.resize_side) for image in images]
    pixels = [prepare_pixels(image, spec) for image in decoded]
    ones = [normalise(p[None], spec) for p in pixels]
    eights = [np.concatenate([one] * 8) for one in ones]
    said = onnx.predict_pixels(np.stack(pixels)).probabilities
    rows = [row[None] for row in said]
    jobs: dict[str, tuple[Callable[[Any], object], Sequence[Any], int]] = {
        "decode JPEG": (lambda image: decode_rgb(image, 2 * spec.resize_side), images, 1),
        "resize and crop": (lambda image: prepare_pixels(image, spec), decoded, 1),
        "normalise": (lambda p: normalise(p[None], spec), pixels, 1),
        "forward TorchScript": (plain.engine.forward, ones, 1),
        "forward TorchScript, frozen": (frozen.engine.forward, ones, 1),
        "forward TorchScript, frozen, of 8": (frozen.engine.forward, eights, 8),
        "forward ONNX Runtime": (onnx.engine.forward, ones, 1),
        "forward ONNX Runtime, of 8": (onnx.engine.forward, eights, 8),
        "answer as JSON": (lambda row: _json(plain.classes, row), rows, 1),
    }
    return {name: round(_best_ms(*job), 3) for name, job in jobs.items()}


def _json(classes: Sequence[str], row: Any) -> bytes:
    documents = answers.predictions(classes, row, Options())
    return answers.encode(documents, row, answers.Context("version", "id"), JSON_TYPE)


def _best_ms(work: Callable[[Any], object], inputs: Sequence[Any], images: int) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for item in inputs:
            work(item)
        best = min(best, time.process_time() - started)
    return 1e3 * best / (len(inputs) * images)


def _limit(case: _Case, engine: str, device: str) -> float:
    """Return images a second of the bare predictor in as many processes as workers."""
    with bare(case.path, case.images, engine, device, case.arguments.workers) as limit:
        return limit.rate(case.arguments.seconds)


def _limit_turns(case: _Case, server: Server) -> dict[str, Any]:
    """Compare a server with the limit in turns, both there all along: the machine's moods cancel.

    A limit that waits costs memory alone.
    """
    arguments, found = case.arguments, {}
    limit_of = case.path, case.images, "torchscript", arguments.device, arguments.workers
    with bare(*limit_of) as limit, running(server, case.images[0]) as instance:
        target = _target(instance, case.images, case.expected)
        measure(target, max(_CLIENTS), arguments.seconds, warm_s=1.0)
        for clients in _CLIENTS[1:]:
            rates = []
            for _ in range(arguments.turns):
                bare_rate = limit.rate(_TURN_S)
                load = measure(target, clients, _TURN_S, warm_s=0.3)
                rates.append((load.rate, bare_rate))
            ours_, limits = np.array(rates).T
            found[f"c={clients}"] = {
                "images_per_s": round(float(np.median(ours_)), 1),
                "limit_images_per_s": round(float(np.median(limits)), 1),
                **ratio_of(ours_, limits),
            }
            sys.stderr.write(f"c={clients}: {json.dumps(found[f'c={clients}'])}\n")
    return found
