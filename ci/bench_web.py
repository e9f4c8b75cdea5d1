"""python -m ci bench_web: measure the pages in one run on one machine, as JSON.

    python -m ci bench_web --model BUNDLE --visitors 50 --seconds 20

visitors_N: N consumers, each sending an image a second; visitors_N_full: each the next one as
soon as the last is answered, which is as much as the machine does. `own_ms` is what the web
layer takes beyond the endpoint, told by each answer's Server-Timing, waiting for a free
thread or core included. The endpoint, the pages and the load share the cores.
`endpoint_alone` is the full load on the endpoint itself, the limit.
page: the consumer's page in Debian's Chromium, nothing in its cache.
"""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ci.load import Load, Target, measure
from ci.packages import newest_approved
from ci.problems import REPOSITORY
from ci.served import BenchError, free_port, ours, running
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.golden import read_golden

_IMPORTS = 7
_VISITS = 5
_CHROMIUM = Path("/usr/bin/chromium")  # Debian's
# Without these it asks the world for news of its own.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The pages' policy forbids what Playwright would poll with; an observer waits by itself.
_PAINT = """() => new Promise((done) => {
  const measure = (paint) => {
    const [page] = performance.getEntriesByType("navigation");
    const files = performance.getEntriesByType("resource");
    done({
      first_paint_ms: paint.startTime,
      interactive_ms: page.domContentLoadedEventEnd,
      kb: (page.transferSize + files.reduce((sum, file) => sum + file.transferSize, 0)) / 1000,
    });
  };
  new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").map(measure))
    .observe({ type: "paint", buffered: true });
})"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, help="bundle; default: the newest approved package")
    parser.add_argument("--visitors", type=int, default=50, help="at once; default: 50")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load; default: 15")
    arguments = parser.parse_args(argv)
    python = platform.python_version()
    found = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {python}",
        "import_s": _import_s(),
        **_served(arguments),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _import_s() -> dict[str, float]:
    """Return how long a process of its own takes to have the application, median and most."""
    script = (
        "import time; begun = time.perf_counter(); import components.web.app, "
        "components.web.clients, components.web.lambda_handler, boto3; "
        "print(time.perf_counter() - begun)"
    )
    took = [
        float(
            subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
        )
        for _ in range(_IMPORTS)
    ]
    return {"median": round(statistics.median(took), 2), "largest": round(max(took), 2)}


def _served(arguments: argparse.Namespace) -> dict[str, Any]:
    archive = arguments.model or newest_approved(Settings.from_environ()).archive
    with ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(archive))
        images = [image.data for image in read_golden(bundle)]
        # What is kept for review or reported is the endpoint's own matter: see bench_serving.
        server = ours(bundle.folder.resolve(), "endpoint", "--telemetry", "false")
        endpoint = stack.enter_context(running(server, images[0]))
        pages = stack.enter_context(_pages(endpoint.port))
        labels = set(bundle.info.classes)
        alone = _endpoint(endpoint.port, images, labels)
        full = _visitor(pages, images, labels)
        many, seconds = arguments.visitors, arguments.seconds
        return {
            "endpoint_alone_1": _told(measure(alone, 1, seconds)),
            "visitors_1_full": _told(measure(full, 1, seconds)),
            f"visitors_{many}": _told(measure(replace(full, every_s=1.0), many, seconds)),
            f"endpoint_alone_{many}": _told(measure(alone, many, seconds)),
            f"visitors_{many}_full": _told(measure(full, many, seconds)),
            "page": _page(pages),
        }


@contextmanager
def _pages(endpoint_port: int) -> Iterator[int]:
    """Run the pages; give their port."""
    port = free_port()
    command = [sys.executable, "-m", "components.web", "--port", str(port), "--name", "bench"]
    command += ["--endpoint", "local", "--requests-per-minute", "10000000"]
    environ = {
        **{n: value for n, value in os.environ.items() if not n.startswith("AWS_")},
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{endpoint_port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
    }
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--sink", folder]
        process = subprocess.Popen(
            [*command, *flags], cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None  # noqa: S101 - it is a pipe
            line = process.stderr.readline()
            if f"http://127.0.0.1:{port}" not in line:
                raise BenchError(f"bench: the pages do not start: {line}{process.stderr.read()}")
            yield port
        finally:
            process.terminate()
            process.communicate()


def _endpoint(port: int, images: list[bytes], labels: set[str]) -> Target:
    headers = (("content-type", "application/x-image"), ("accept", "application/json"))

    def is_right(_number: int, body: bytes) -> bool:
        return json.loads(body)["predictions"][0]["label"] in labels

    return Target(port, "/invocations", headers, images, is_right)


def _visitor(port: int, images: list[bytes], labels: set[str]) -> Target:
    """Return what a consumer who has logged in sends."""
    cookie, token = _log_in(port)
    headers = (("cookie", cookie), ("x-csrf-token", token), ("content-type", "image/jpeg"))

    def is_right(_number: int, body: bytes) -> bool:
        said = json.loads(body)
        return said["label"] in labels and bool(said["receipt"])

    return Target(port, "/api/v1/predictions", headers, images, is_right, _own_ms)


def _own_ms(headers: list[tuple[bytes, bytes]]) -> float:
    """Return what is not the endpoint's: Server-Timing has its part and the whole."""
    text = b",".join(value for name, value in headers if name == b"server-timing").decode()
    parts = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([0-9.]+)", text)}
    return parts["total"] - parts["endpoint"]


def _log_in(port: int) -> tuple[str, str]:
    """Return a consumer's cookie and token."""
    address = f"http://127.0.0.1:{port}"
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = opener.open(f"{address}/login").read().decode()
    form = {"csrf": _token_in(page), "role": "consumer", "name": "bench"}
    page = opener.open(f"{address}/login", urllib.parse.urlencode(form).encode()).read().decode()
    (cookie,) = jar
    return f"{cookie.name}={cookie.value}", _token_in(page)


def _token_in(page: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', page)
    if found is None:
        raise BenchError("bench: a page without its token; do the pages run?")
    return found[1]


def _told(load: Load) -> dict[str, Any]:
    if load.wrong:
        raise BenchError(f"bench: {load.wrong} wrong answers, the first: {load.first_wrong}")
    said: dict[str, Any] = {
        "answers_per_s": round(load.rate, 1),
        "wrong": load.wrong,
        "p50_ms": round(load.quantile_ms(0.5), 1),
        "p95_ms": round(load.quantile_ms(0.95), 1),
    }
    if load.told:
        own = sorted(load.told)
        said["own_p50_ms"] = round(own[len(own) // 2], 2)
        said["own_p95_ms"] = round(own[int(0.95 * len(own))], 2)
    return said


def _page(port: int) -> dict[str, Any]:
    """Return what a browser sees of the consumer's page; median of some first visits."""
    from playwright.sync_api import sync_playwright

    address, visits = f"http://127.0.0.1:{port}", []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(_CHROMIUM), args=_FLAGS)
        for _ in range(_VISITS):
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"{address}/login")
            page.get_by_role("button", name="As a consumer").click()
            page.wait_for_load_state("load")
            cookies = context.cookies()
            context.close()
            context = browser.new_context()
            context.add_cookies(cookies)  # type: ignore[arg-type]  # its own
            page = context.new_page()
            page.goto(f"{address}/", wait_until="load")
            visits.append(page.evaluate(_PAINT))
            context.close()
        browser.close()
    return {name: round(statistics.median(v[name] for v in visits), 1) for name in visits[0]}
