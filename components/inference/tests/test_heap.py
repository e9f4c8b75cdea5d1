"""Free memory goes back once a minute, and not in between."""

from __future__ import annotations

import subprocess
import sys

import pytest

from components.inference.heap import HeapTrimmer


def test_it_trims_once_a_minute() -> None:
    now, trimmed = 0.0, []
    trim = HeapTrimmer(lambda: now, lambda: trimmed.append(now))
    for second in range(200):
        now = float(second)
        trim()
    assert trimmed == [60.0, 120.0, 180.0]


_HOLES = """
import sys, psutil
from components.inference.heap import HeapTrimmer
now = 0.0
trim = HeapTrimmer(lambda: now)
rss = lambda: psutil.Process().memory_info().rss / 1e6
pieces = [bytes(100_000) for _ in range(2000)]
del pieces[:-1]  # the last one keeps the heap from shrinking by itself
before = rss()
now = 61.0
trim()
print(before - rss())
"""


def test_what_a_process_has_freed_goes_back_to_the_system() -> None:
    if sys.platform != "linux":
        pytest.skip("needs glibc's heap")
    keeping = {"MALLOC_MMAP_THRESHOLD_": "268435456", "MALLOC_TRIM_THRESHOLD_": "268435456"}
    said = subprocess.run(
        [sys.executable, "-c", _HOLES], env=keeping, capture_output=True, text=True, check=True
    )
    assert float(said.stdout) > 100  # MB of 200
