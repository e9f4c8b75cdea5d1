"""python -m ci bench_labeling: how fast the labelling component is, as JSON.

merge     annotations to labels, from a folder and from S3 as moto has it: seconds, memory
backend   predictions through the ML backend against calling the endpoint directly

Each part is the module ci/bench_labeling_NAME.py with `measure() -> dict`. Runs alone;
anything beside it on the machine falsifies it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from ci.bench import machine

PARTS = ("merge", "backend")


def main(argv: Sequence[str]) -> int:
    """Measure one part, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_labeling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all")
    chosen = parser.parse_args(argv).part
    found = {
        part: importlib.import_module(f"ci.bench_labeling_{part}").measure()
        for part in ([chosen] if chosen else PARTS)
    }
    sys.stdout.write(json.dumps({"machine": machine(), **found}, indent=2) + "\n")
    return 0
