"""What a function costs before its first event: import, first client, memory; part of ci bench.

Measured as Lambda does it: a fresh interpreter, the zip unpacked, none of it compiled
before. boto3 itself is compiled, as in Lambda's runtime.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from ci.functions import component_of_parameter, pack
from ci.templates import load_templates

_ROUNDS = 7
_GOAL_MS = 400
_CHILD = """
import json, resource, sys, time
started = time.perf_counter()
import importlib
importlib.import_module("components.{name}.handler")
imported = time.perf_counter()
import boto3
boto3.client("s3")
connected = time.perf_counter()
print(json.dumps({{
    "import_ms": 1000 * (imported - started),
    "first_client_ms": 1000 * (connected - imported),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}}))
"""


def functions(scratch: Path, _data: str) -> dict[str, Any]:
    """Measure every function that a stack has; medians."""
    templates = load_templates(Path(__file__).parents[1])
    parameters = [p for body in templates.values() for p in body.get("Parameters", {})]
    names = sorted({component_of_parameter(parameter) for parameter in parameters} - {""})
    return {name: _measure(name, scratch / name) for name in names}


def _measure(name: str, folder: Path) -> dict[str, Any]:
    code = pack(name, Path(__file__).parents[1])
    zipfile.ZipFile(io.BytesIO(code.data)).extractall(folder)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    command = [sys.executable, "-c", _CHILD.format(name=name)]
    rounds = [
        json.loads(subprocess.run(command, env=environ, capture_output=True, check=True).stdout)
        for _ in range(_ROUNDS)
    ]
    middle = {key: round(statistics.median(r[key] for r in rounds)) for key in rounds[0]}
    return {**middle, "zip_kb": round(len(code.data) / 1e3), "goal_import_ms": _GOAL_MS}
