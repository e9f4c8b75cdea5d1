"""Test one window of features in a process of its own, at the lowest priority.

    python -m components.inference.drift_child <detector folder> <window.npz>

prints one JSON object: p_value, threshold, is_drift, window, features, classes (by
index). drift_watch.py starts it, so that the memory of alibi-detect goes back at once.

`import alibi_detect` also imports torch, transformers, numba and scikit-learn (6 s, 890 MB),
none of which TabularDrift uses. Here its packages stand without their __init__, torch is
hidden and two classes that it names of scikit-learn are empty: 1 s, 100 MB, the same code
of the same library. Should that ever fail, the process starts itself again with everything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.vision.drift import DriftDetector

_LIBRARY = "alibi_detect"
_HIDDEN = ("torch", "tensorflow", "tensorflow_probability", "keras", "pykeops", "prophet")
_NAMED = {"sklearn.base": "BaseEstimator", "sklearn.model_selection": "StratifiedKFold"}
_EVERYTHING = "--everything"
_LONGEST_S = 1000  # the collector waits 900


class _Hider:
    """A finder before all others that finds none of the hidden packages."""

    @staticmethod
    def find_spec(name: str, *_: object) -> ModuleSpec | None:
        """Refuse hidden packages, leave the others to the next finder."""
        if name.partition(".")[0] in _HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}: hidden here", name=name)
        return None


def main(arguments: Sequence[str]) -> int:
    """Test the window and print the result; exit status 0 or 1."""
    detector_folder, window = Path(arguments[0]), Path(arguments[1])
    _give_way()
    is_light = _EVERYTHING not in arguments
    if is_light:
        _strip_library()
    from shared.vision.drift import DriftDetector  # SciPy's seconds, too, at idle priority

    try:
        document = check(DriftDetector.load(detector_folder), window)
    except (ImportError, AttributeError):
        if not is_light:
            raise
        module = [sys.executable, "-m", "components.inference.drift_child"]
        os.execv(sys.executable, [*module, *arguments, _EVERYTHING])  # noqa: S606 - itself
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


def _strip_library() -> None:
    """Let the library's modules be imported without what its packages import."""
    spec = importlib.util.find_spec(_LIBRARY)
    if spec is None or not spec.submodule_search_locations:
        return  # the import says what is missing
    folder = spec.submodule_search_locations[0]
    for name, path in ((_LIBRARY, folder), (f"{_LIBRARY}.cd", f"{folder}/cd")):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
    for name, attribute in _NAMED.items():
        sys.modules[name] = ModuleType(name)
        setattr(sys.modules[name], attribute, type(attribute, (), {}))
    sys.modules["sklearn"] = ModuleType("sklearn")
    sys.meta_path.insert(0, _Hider)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
