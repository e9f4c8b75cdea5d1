"""Test one window of features in a process of its own, at the lowest priority.

    python -m components.inference.drift_child <detector folder> <window.npz>

prints one JSON object: p_value, threshold, is_drift, window, features, classes (by
index). drift_watch.py starts it, so that its memory (100 MB) goes back at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.vision.drift import DriftDetector

_LONGEST_S = 1000  # the collector waits 900


def main(arguments: Sequence[str]) -> int:
    """Test the window and print the result; exit status 0 or 1."""
    detector_folder, window = Path(arguments[0]), Path(arguments[1])
    _give_way()
    from shared.vision.drift import DriftDetector  # NumPy's seconds, too, at idle priority

    document = check(DriftDetector.load(detector_folder), window)
    sys.stdout.write(json.dumps(document))
    return 0


def check(detector: DriftDetector, window: Path) -> dict[str, object]:
    """Return what the test says of the window and which classes moved."""
    import numpy as np

    with np.load(window, allow_pickle=False) as arrays:
        rows = arrays["rows"]
    classes = [asdict(shift) for shift in detector.class_shift(rows)]
    return asdict(detector.check(rows)) | {"classes": classes}


def _give_way() -> None:
    """Run only when nothing else wants the processor; end in time."""
    signal.alarm(_LONGEST_S)
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Outside a container Linux weighs sessions, not processes, against each other (sched(7),
    # autogroup): in the collector's this one would take a whole share of the workers' cores.
    with suppress(OSError):  # no such file: no such weighing
        os.setsid()
        Path("/proc/self/autogroup").write_text("19")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
