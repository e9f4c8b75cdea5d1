"""One drift window for all workers of a container, tested off the request path.

An endpoint of several instances has one a piece, under the same dimensions.

Rows of features are collected in a uniform reservoir of `detector.window` rows. When it
is full and the interval has passed, its rows go to a child process (drift_child.py) and
a new window begins: windows never overlap, which the calibrated false-alarm rate rests
on. State folder:

    drift.json          the last result; workers read it for the response's drift flag
    drift-rows.npz      the window being collected
    drift-window.npz    the window being tested; tested again if the collector is killed

drift.json: {is_drift, p_value, threshold, window, time, features: [{name, p_value,
distance}, the 5 strongest], classes: [{label, reference_share, window_share}, the one
that moved most first], seen, tests}; time in seconds since the epoch, seen = images
since the last test when this one began, tests = since this process started.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from components.inference.lifeline import end_with
from components.inference.records import RecordError, pack, unpack
from components.inference.reservoir import Reservoir, load_rows, save_rows
from shared.component.files import sha256_of, write_json
from shared.vision.drift import DriftDetector

log = logging.getLogger(__name__)
RESULT_FILE = "drift.json"
_MOST_FEATURES = 5
# At idle priority beside one busy process a core gives a test 1 %: 2 s become 4 minutes.
_TIMEOUT_S = 900.0
_RETRY_S = 5.0  # after the state folder could not be written


@dataclass(frozen=True)
class _Test:
    """A child at work."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]
    begun_s: float
    seen: int


class DriftWatch:
    """Collects, tests, reports.

    folder: the detector's; state: see above; labels: of the classes in order.
    interval_s: between the starts of two tests, at least.
    tests, failures: since the start.
    """

    def __init__(self, folder: Path, state: Path, labels: Sequence[str], interval_s: float) -> None:
        detector = DriftDetector.load(folder)
        self.window = detector.window
        self.width = len(detector.feature_names)
        self._packed_length = len(pack(np.zeros(self.width, np.float32)))
        self._folder = folder
        self._state = state
        self._labels = labels
        self._interval_s = interval_s
        self._owner = sha256_of(folder / "detector.npz") + sha256_of(folder / "detector.json")
        state.mkdir(parents=True, exist_ok=True)
        self._rows = Reservoir(state / "drift-rows.npz", self.window, self.width, self._owner)
        self._window_file = state / "drift-window.npz"
        self._test: _Test | None = None
        self._next_s = 0.0
        unfinished = load_rows(self._window_file, self._owner)
        # A test was under way when the last process ended.
        self._unfinished_seen = unfinished[1] if unfinished else None
        self.tests = 0
        self.failures = 0

    @property
    def seen(self) -> int:
        """Images since the last test began."""
        return self._rows.seen

    def add(self, features: str) -> None:
        """Take one image's features, packed float32.

        Raises:
            RecordError: they are not this detector's.
        """
        if len(features) != self._packed_length:
            raise RecordError(
                f"drift: features of {len(features)} characters, the detector's have "
                f"{self._packed_length}; serve model and detector of one bundle"
            )
        self._rows.add(lambda: unpack(features, np.float32))

    def tick(self, now_s: float) -> dict[str, Any] | None:
        """Do what is due; return a result when there is a new one.

        now_s: seconds since the epoch.
        """
        result = self._collect(self._test, now_s) if self._test else None
        try:
            if self._test is None:
                self._begin_if_due(now_s)
            self._rows.save(now_s)
        except OSError as err:
            self._next_s = now_s + min(self._interval_s, _RETRY_S)
            self._fail(f"cannot test or save in {self._state}: {err}")
        return result

    def close(self, now_s: float) -> None:
        """End a running test, which the next process repeats, and save the window."""
        if self._test is not None:
            self._end(self._test)
        try:
            self._rows.save(now_s, is_urgent=True)
        except OSError as err:
            log.warning("drift: the window is lost, cannot write to %s: %s", self._state, err)

    def _begin_if_due(self, now_s: float) -> None:
        if self._unfinished_seen is not None:
            self._begin(now_s, self._unfinished_seen)
            self._unfinished_seen = None
        elif now_s >= self._next_s and self._rows.seen >= self.window:
            save_rows(self._window_file, self._rows.rows(), self._rows.seen, self._owner)
            self._begin(now_s, self._rows.seen)
            self._rows.empty()
            self._rows.save(now_s, is_urgent=True)

    def _begin(self, now_s: float, seen: int) -> None:
        self._next_s = now_s + self._interval_s
        output, errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        module = [sys.executable, "-m", "components.inference.drift_child"]
        process = subprocess.Popen(
            [*module, str(self._folder), str(self._window_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - one system call, no lock
        )
        self._test = _Test(process, output, errors, now_s, seen)

    def _collect(self, test: _Test, now_s: float) -> dict[str, Any] | None:
        """Return the running test's result if it has ended, and well."""
        is_running = test.process.poll() is None
        if is_running and now_s - test.begun_s < _TIMEOUT_S:
            return None
        output, errors = self._end(test)
        self._window_file.unlink(missing_ok=True)
        try:
            if is_running:
                raise ValueError(f"no result after {_TIMEOUT_S:.0f} s")
            said = json.loads(output.rpartition(b"\n")[2])
        except ValueError as err:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2][-300:]
            self._fail(f"test ended with status {test.process.returncode}: {last or err}")
            return None
        self.tests += 1
        return self._report(said, test.seen, now_s)

    def _end(self, test: _Test) -> tuple[bytes, bytes]:
        """Make sure the child is gone; return what it wrote."""
        if test.process.poll() is None:
            test.process.kill()
        test.process.wait()
        texts = []
        for stream in (test.output, test.errors):
            stream.seek(0)
            texts.append(stream.read(1 << 20))
            stream.close()
        self._test = None
        return texts[0], texts[1]

    def _report(self, said: dict[str, Any], seen: int, now_s: float) -> dict[str, Any]:
        classes = [
            {
                "label": self._label(shift["index"]),
                "reference_share": round(shift["reference_share"], 4),
                "window_share": round(shift["window_share"], 4),
            }
            for shift in said["classes"]
        ]
        features = said["features"][:_MOST_FEATURES]
        result = said | {"time": now_s, "classes": classes, "features": features}
        result |= {"seen": seen, "tests": self.tests}
        log.info(
            "drift: is_drift=%s p_value=%.4g threshold=%.4g window=%d seen=%d strongest=%s "
            "distance=%.3f class=%s share=%.3f reference=%.3f",
            *(result[key] for key in ("is_drift", "p_value", "threshold", "window", "seen")),
            features[0]["name"],
            features[0]["distance"],
            classes[0]["label"],
            classes[0]["window_share"],
            classes[0]["reference_share"],
        )
        try:
            write_json(self._state / RESULT_FILE, result)
        except OSError as err:
            log.warning("drift: cannot write %s: %s", self._state / RESULT_FILE, err)
        return result

    def _label(self, index: int) -> str:
        return self._labels[index] if index < len(self._labels) else f"class {index}"

    def _fail(self, reason: str) -> None:
        self.failures += 1
        log.warning("drift: %s", reason)
