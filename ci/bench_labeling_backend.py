"""Predictions through the ML backend against calling the endpoint directly.

One run on one machine, in turn: the same images, the same number of calls at once. Directly
means boto3 with the images at hand; `direct_with_s3` reads each from S3 first, as the
backend has to. S3 is moto, in a process of its own, and slower than all the rest: so
`backend_on_disk` has a folder in its place. The endpoint serves the newest approved package.
All share the cores, so that what the backend spends the endpoint lacks.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from ci.packages import newest_approved
from ci.problems import REPOSITORY
from ci.served import BenchError, free_port, ours, running
from shared.component.storage import S3_ROOT_VARIABLE
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.golden import read_golden

_TASKS, _ROUNDS, _CONCURRENCY = 400, 5, 16
_QUEUE = "capture"
_PREFIX = "endpoint/review/images/"
_START_S = 60.0


def measure() -> dict[str, Any]:
    """Return tasks a second of each road and their ratio, round by round."""
    archive = newest_approved(Settings.from_environ()).archive
    with ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(archive))
        images = _images([image.data for image in read_golden(bundle)])
        server = ours(bundle.folder.resolve(), "endpoint", "--telemetry", "false")
        endpoint = stack.enter_context(running(server, images[0]))
        s3_url = stack.enter_context(_process([sys.executable, "-m", "moto.server"], "/"))
        environ = _environ(f"http://127.0.0.1:{endpoint.port}", s3_url)
        s3, runtime = (_client(name, environ) for name in ("s3", "sagemaker-runtime"))
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = _put(s3, disk, images)
        body = {"tasks": _tasks(names), "label_config": _config(bundle.info.classes)}
        pool = stack.enter_context(ThreadPoolExecutor(_CONCURRENCY))

        def read_and_ask(name: str) -> None:
            found = s3.get_object(Bucket=_QUEUE, Key=_PREFIX + name)
            _invoke(runtime, found["Body"].read())

        on_disk = environ | {S3_ROOT_VARIABLE: str(disk)}
        return _compare(
            {
                "direct": lambda: list(pool.map(partial(_invoke, runtime), images)),
                "direct_with_s3": lambda: list(pool.map(read_and_ask, names)),
                "backend": _backend(stack, environ, body),
                "backend_on_disk": _backend(stack, on_disk, body),
            }
        )


def _backend(stack: ExitStack, environ: dict[str, str], body: dict[str, Any]) -> Callable[[], None]:
    """Start a backend and return what sends it all tasks in one request."""
    command = [sys.executable, "-m", "components.labeling", "serve"]
    flags = ["--queue", f"s3://{_QUEUE}/endpoint", "--concurrency", str(_CONCURRENCY)]
    url = stack.enter_context(_process([*command, *flags], "/health", environ))
    http = stack.enter_context(httpx.Client(base_url=url, timeout=100, trust_env=False))
    return partial(_predict, http, body)


def _compare(roads: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in roads}
    for number in range(_ROUNDS + 1):
        for name, road in roads.items():
            started = time.perf_counter()
            road()
            if number:  # the first warms up
                rates[name].append(_TASKS / (time.perf_counter() - started))
    found: dict[str, Any] = {
        "tasks": _TASKS,
        "concurrency": _CONCURRENCY,
        "tasks_per_s": {name: round(statistics.median(r), 1) for name, r in rates.items()},
    }
    for mine, theirs in (("backend_on_disk", "direct"), ("backend", "direct_with_s3")):
        ratios = [b / d for b, d in zip(rates[mine], rates[theirs], strict=True)]
        spread = (statistics.median(ratios), min(ratios), max(ratios))
        found[f"{mine}_of_{theirs}"] = [round(ratio, 3) for ratio in spread]
    return found


def _images(golden: list[bytes]) -> list[bytes]:
    """Return so many images of different names: decoders stop at a file's own end."""
    return [golden[n % len(golden)] + n.to_bytes(4, "big") for n in range(_TASKS)]


def _put(s3: Any, disk: Path, images: list[bytes]) -> list[str]:
    folder = disk / _QUEUE / _PREFIX
    folder.mkdir(parents=True)
    s3.create_bucket(Bucket=_QUEUE)
    names = [f"{hashlib.sha256(image).hexdigest()}.jpg" for image in images]
    for name, image in zip(names, images, strict=True):
        s3.put_object(Bucket=_QUEUE, Key=_PREFIX + name, Body=image)
        (folder / name).write_bytes(image)
    return names


def _tasks(names: list[str]) -> list[dict[str, Any]]:
    places = [f"s3://{_QUEUE}/{_PREFIX}{name}" for name in names]
    return [{"id": n, "data": {"image": place}} for n, place in enumerate(places)]


def _config(labels: tuple[str, ...]) -> str:
    from components.labeling.label_config import write_config

    return str(write_config(labels))


def _invoke(runtime: Any, image: bytes) -> None:
    answer = runtime.invoke_endpoint(
        EndpointName="local",
        Body=image,
        ContentType="application/x-image",
        CustomAttributes="record=false",
    )
    answer["Body"].read()


def _predict(http: httpx.Client, body: dict[str, Any]) -> None:
    response = http.post("/predict", json=body)
    results = response.json().get("results", [])
    if len(results) != _TASKS or not all(results):
        raise BenchError(f"bench: the backend left tasks out: {response.text[:200]}")


def _environ(endpoint_url: str, s3_url: str) -> dict[str, str]:
    return os.environ | {
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(REPOSITORY),
    }


def _client(service: str, environ: dict[str, str]) -> Any:
    is_s3 = service == "s3"
    name = "AWS_ENDPOINT_URL" if is_s3 else "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"
    return boto3.client(
        service,
        endpoint_url=environ[name],
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - moto takes any
        region_name="us-east-1",
        config=Config(max_pool_connections=_CONCURRENCY),
    )


@contextmanager
def _process(command: list[str], path: str, environ: dict[str, str] | None = None) -> Iterator[str]:
    """Start a server that takes a port, wait until it answers, stop it with the block."""
    port = free_port()
    flag = "-p" if "moto.server" in command else "--port"
    process = subprocess.Popen(
        [*command, flag, str(port)],
        env=environ,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + _START_S
        while not _answers(url + path):
            if time.monotonic() > end or process.poll() is not None:
                raise BenchError(f"bench: {' '.join(command)} does not answer")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
            return True
    except (urllib.error.URLError, OSError):
        return False
