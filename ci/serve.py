"""python -m ci serve: serve the newest approved package of this machine until Ctrl-C.

    python -m ci serve --name scenes --port 8080 --workers 2

Further flags are components/inference's own. The prediction log, the review queue and the
metrics go to .visionloop/endpoint, where later parts read them.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ci.packages import LocalPackage, newest_approved
from ci.problems import REPOSITORY
from ci.served import free_port
from shared.component.errors import UsageError
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.golden import read_golden

_POLL_S = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the server's exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ci serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--name", default="", help="model package group; default: any")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one; default: 8080")
    arguments, flags = parser.parse_known_args(argv)
    settings = Settings.from_environ()
    found = newest_approved(settings, arguments.name)
    port = arguments.port or free_port()
    _check_free(port)
    folder = settings.home / "endpoint"
    example = _write_example(found, folder)
    process = subprocess.Popen(
        [*endpoint_command(found, port, folder), *flags],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,  # metrics for CloudWatch; the folder has a copy
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if _is_ready(process, port):
        sys.stdout.writelines(f"{line}\n" for line in _invitation(found, port, example, folder))
        sys.stdout.flush()
    status = process.wait()
    return status if status >= 0 else 128 - status


def endpoint_command(found: LocalPackage, port: int, folder: Path) -> list[str]:
    """Return what serves a package; what it records goes to `folder`."""
    command = [sys.executable, "-m", "components.inference", "serve"]
    flags = {
        "--model": found.archive,
        "--port": port,
        "--model-version": found.package.version,
        "--sink": folder,
    }
    return command + [str(word) for pair in flags.items() for word in pair]


def is_healthy(port: int, timeout_s: float = 5.0) -> bool:
    """Tell whether /ping answers 200: the model has answered its golden images rightly."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=timeout_s):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UsageError(f"serve: port {port} is taken; pass another: make serve PORT=8081")


def _write_example(found: LocalPackage, folder: Path) -> Path:
    """Put a golden image beside the log, for a first request."""
    with open_bundle(found.archive) as bundle:
        golden = read_golden(bundle)
    if not golden:
        return Path("image.jpg")
    folder.mkdir(parents=True, exist_ok=True)
    example = folder / f"example{Path(golden[0].name).suffix}"
    example.write_bytes(golden[0].data)
    return example


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until /ping answers 200; False where the server ends before."""
    while process.poll() is None:
        if is_healthy(port):
            return True
        time.sleep(_POLL_S)
    return False


def _invitation(found: LocalPackage, port: int, example: Path, folder: Path) -> Sequence[str]:
    address, package = f"http://127.0.0.1:{port}", found.package
    return (
        f"serving {package.group} version {package.version} ({package.arn}); Ctrl-C stops",
        f"  curl --data-binary @{example} -H 'content-type: application/x-image' "
        f"{address}/invocations",
        f"  {sys.executable} -m ci invoke --endpoint {address} {example}",
        f"  {sys.executable} -m ci invoke --endpoint {address} --golden {found.archive}",
        f"  predictions, metrics, images to review: {folder}",
    )
