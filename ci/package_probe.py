"""Print what is installed beside this Python, as JSON; runs inside an image.

`python -c <this file>`: standard library alone, and nothing that a later Python 3 lacks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_DPKG = Path("/var/lib/dpkg/status")
_RPM_FORMAT = "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\n"


def python_packages() -> list[dict[str, Any]]:
    """Return every distribution; `bytes` is what its files take."""
    found = {}
    for package in metadata.distributions():
        name = package.metadata["Name"]
        if name and name not in found:  # the first on the path is the one that is imported
            found[name] = {
                "name": name,
                "version": package.version,
                "license": _license(package.metadata),
                "bytes": _size(package),
            }
    return [found[name] for name in sorted(found, key=str.lower)]


def system_packages() -> list[dict[str, str]]:
    """Return what Debian's or Red Hat's package manager installed."""
    if _DPKG.is_file():
        entries = [_fields(entry) for entry in _DPKG.read_text().split("\n\n")]
        return [
            {
                "kind": "deb",
                "name": e["Package"],
                "version": e["Version"],
                "arch": e["Architecture"],
            }
            for e in entries
            if e.get("Status", "").endswith(" installed")
        ]
    if shutil.which("rpm") is None:
        return []
    done = subprocess.run(
        ["rpm", "-qa", "--qf", _RPM_FORMAT], capture_output=True, text=True, check=True
    )
    rows = (line.split("\t") for line in sorted(done.stdout.splitlines()))
    return [{"kind": "rpm", "name": n, "version": v, "arch": a} for n, v, a in rows]


def _license(fields: Any) -> str:
    named = fields.get("License-Expression") or ""
    classified = [c for c in fields.get_all("Classifier") or () if c.startswith("License ::")]
    if not named and classified:
        named = classified[0].rpartition(" :: ")[2]
    short = (fields.get("License") or "").strip()
    # Some put the whole licence there.
    return named or (short if len(short) < 80 and "\n" not in short else "")


def _size(package: metadata.Distribution) -> int:
    paths = (Path(str(package.locate_file(file))) for file in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def _fields(entry: str) -> dict[str, str]:
    lines = [line for line in entry.splitlines() if line and not line.startswith(" ")]
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


if __name__ == "__main__":
    json.dump({"python": python_packages(), "system": system_packages()}, sys.stdout)
