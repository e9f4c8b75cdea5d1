"""A real Label Studio on this machine: started, waited for, stopped.

The tests of the labelling loop and `make loop` use it. It lives in an environment of its own
(`make .venv-tools/label-studio/.ready`), since it needs numpy 2. A fresh database takes it
half a minute and more; so one is made once per version and copied.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ci.problems import REPOSITORY
from ci.served import free_port
from shared.component.errors import VisionloopError

ENVIRONMENT = REPOSITORY / ".venv-tools" / "label-studio"
# Outside of it: the environment is made anew whenever ours is, a database need not be.
_TEMPLATES = ENVIRONMENT.with_name("label-studio-data")
_FRESH_START_S = 300.0
_STOP_S = 20.0
_LOG_SHOWN = 2000
# Label Studio's own list of networks that no address given to it may lead to
# (core/utils/io.py of 1.23.2), less the one that this machine calls itself by.
_BANNED_SUBNETS = (
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,"
    "192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,"
    "233.252.0.0/24,240.0.0.0/4,255.255.255.255/32,::/128,::1/128,::ffff:0:0/96,"
    "::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001:0000::/32,2001:20::/28,"
    "2001:db8::/32,2002::/16,fc00::/7,fe80::/10,ff00::/8"
)
_QUIET = {
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "USER_ADDITIONAL_BANNED_SUBNETS": _BANNED_SUBNETS,
}


class StudioStartError(VisionloopError):
    """Label Studio is not installed, or does not start."""


@dataclass(frozen=True)
class Studio:
    """A Label Studio that answers; user and password are its owner's."""

    url: str
    user: str
    password: str = field(repr=False)
    pid: int
    folder: Path


@contextmanager
def running_studio(
    folder: Path, user: str, password: str, environ: Mapping[str, str] | None = None
) -> Iterator[Studio]:
    """Start Label Studio with its data in `folder`; stop it when the block ends.

    folder: empty, or left by an earlier one, which then goes on.
    environ: further variables, such as S3_ENDPOINT and AWS_ACCESS_KEY_ID.

    Raises:
        StudioStartError: it is not installed, or does not answer in time.
    """
    if not (ENVIRONMENT / ".ready").exists():
        raise StudioStartError(
            "label studio: not installed; run `make .venv-tools/label-studio/.ready`"
        )
    data = folder / "data"
    if not data.exists():
        shutil.copytree(template(), data)
    with _process(folder, data, user, password, environ or {}) as studio:
        yield studio


def template() -> Path:
    """Return the folder of a migrated, empty database; the first call of a version makes it."""
    made = _TEMPLATES / _version()
    if not made.exists():
        aside = _TEMPLATES / f"new.{os.getpid()}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            with _process(aside, aside / "data", "", "", {}):
                pass
            (aside / "data").rename(made)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return made


def _version() -> str:
    """Return the installed version; asking the program would start a server."""
    (folder,) = ENVIRONMENT.glob("lib/python3*/site-packages/label_studio-*.dist-info")
    return folder.name.removeprefix("label_studio-").removesuffix(".dist-info")


@contextmanager
def _process(
    folder: Path, data: Path, user: str, password: str, environ: Mapping[str, str]
) -> Iterator[Studio]:
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    owner = {"LABEL_STUDIO_USERNAME": user, "LABEL_STUDIO_PASSWORD": password} if user else {}
    told = {"LABEL_STUDIO_BASE_DATA_DIR": str(data), "LABEL_STUDIO_HOST": url, "HOME": str(data)}
    command = ["start", "--no-browser", "--internal-host", "127.0.0.1", "-p", str(port)]
    log = folder / "label-studio.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [str(ENVIRONMENT / "bin" / "label-studio"), *command],
            env={**os.environ, **_QUIET, **owner, **told, **environ},
            stdout=sink,
            stderr=sink,
            cwd=folder,
        )
    try:
        _wait(process, url, log)
        yield Studio(url, user, password, process.pid, folder)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _FRESH_START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tail = log.read_text(errors="replace")[-_LOG_SHOWN:]
    raise StudioStartError(f"label studio: does not answer; its log ends with:\n{tail}")
