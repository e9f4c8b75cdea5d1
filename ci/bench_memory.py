"""python -m ci bench_memory: what the endpoint holds of memory, in its image, under load.

Starts the inference image with two workers for each engine, loads it with 16 and 64 clients,
telemetry on and drift tests back to back, and samples the PSS of all its processes: shared
pages are counted once. JSON on stdout; the goal is 550 MB with TorchScript. `wrong` counts
lost connections, too: behind a user-mode network (slirp4netns) some stall under this load.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ci.bench import machine
from ci.build import add_build_options, build_chosen
from ci.engine import connect
from ci.load import Target, measure
from ci.packages import newest_approved
from ci.problems import REPOSITORY
from shared.component.errors import VisionloopError
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.golden import read_golden

_CLIENTS = (16, 64)
_SECONDS = 8.0
_START_S = 60.0
_SAMPLE_S = 0.25
_GOAL_MB = 550
# Runs in the container, as its user. A process may end between two lines.
_PSS = """
import glob
total = 0
for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
    try:
        total += sum(int(l.split()[1]) for l in open(path) if l.startswith("Pss:"))
    except OSError:
        pass
print(total / 1024)
"""


class MeasureError(VisionloopError):
    """The container cannot be measured."""


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Measure both engines, one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="a final bundle; default: the newest approved package")
    arguments = parser.parse_args(argv)
    image = _image(root)
    model = Path(arguments.model or newest_approved(Settings.from_environ()).archive)
    found: dict[str, Any] = {"machine": machine(), "goal_mb": _GOAL_MB}
    with open_bundle(model) as bundle:
        for path in (bundle.folder, *bundle.folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # the image's user is another
        images = [picture.data for picture in read_golden(bundle)]
        for engine in ("torchscript", "onnx"):
            with _serving(image, bundle.folder, engine) as (container, port):
                found[engine] = _measure(container, port, images)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _image(root: Path) -> str:
    parser = argparse.ArgumentParser()
    add_build_options(parser)
    (recipe,) = build_chosen(parser.parse_args(["inference"]), connect(), root)
    return recipe.name


@contextmanager
def _serving(image: str, bundle: Path, engine: str) -> Iterator[tuple[str, int]]:
    """Start a container and give its id and port once it is well."""
    command = ["docker", "run", "--detach", "--publish", "127.0.0.1::8080"]
    command += ["--volume", f"{bundle.resolve()}:/opt/ml/model:ro"]
    for name, value in (("ENGINE", engine), ("WORKERS", "2"), ("DRIFT_INTERVAL_S", "1")):
        command += ["--env", f"VISIONLOOP_{name}={value}"]
    container = _docker(*command[1:], image, "serve")
    try:
        port = int(_docker("port", container, "8080").rpartition(":")[2])
        _wait(container, port)
        yield container, port
    finally:
        _docker("rm", "--force", container)


def _wait(container: str, port: int) -> None:
    end = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end or _docker("ps", "-q", "--no-trunc") == "":
                tail = _docker("logs", "--tail", "5", container)
                raise MeasureError(f"bench_memory: no ping in {_START_S:.0f} s: {tail}") from None
            time.sleep(0.1)


def _measure(container: str, port: int, images: Sequence[bytes]) -> dict[str, Any]:
    """Sample the memory while clients ask."""
    kinds = (("content-type", "image/jpeg"),)
    target = Target(port, "/invocations", kinds, images, lambda _, body: b"predictions" in body)
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(float(_docker("exec", container, "python", "-c", _PSS)))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        loads = {clients: measure(target, clients, _SECONDS) for clients in _CLIENTS}
    finally:
        done.set()
        sampler.join()
    log = _docker("logs", container)
    return {
        "pss_mb": {"median": round(statistics.median(samples)), "largest": round(max(samples))},
        "samples": len(samples),
        "drift_tests": len(re.findall(r"drift: is_drift=", log)),
        "images_per_s": {clients: round(load.rate) for clients, load in loads.items()},
        "wrong": sum(load.wrong for load in loads.values()),
        "first_wrong": next((load.first_wrong for load in loads.values() if load.wrong), ""),
    }


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureError(f"bench_memory: docker {words[0]}: {done.stderr.strip()}")
    return "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
