"""Linux is asked for a slice, children inherit it, and it is given back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from components.inference import slices
from components.inference.slices import SHORT_NS, ask_for_slice
from components.inference.tests.scheduling import needs_slices, slice_ns


def _in_a_thread() -> tuple[bool, int, int, bool, int]:
    """A slice is a thread's: that of the tests stays as it is."""
    is_short = ask_for_slice(SHORT_NS)
    mine = slice_ns(0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        childs = slice_ns(child.pid)
        child.communicate(b"\n")
    return is_short, mine, childs, ask_for_slice(), slice_ns(0)


def test_a_short_slice_is_inherited_and_can_be_given_back() -> None:
    needs_slices()
    usual, niceness = slice_ns(0), os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(_in_a_thread).result()
    assert found == (True, SHORT_NS, SHORT_NS, True, usual)
    assert usual > SHORT_NS
    assert (slice_ns(0), os.getpriority(os.PRIO_PROCESS, 0)) == (usual, niceness)


def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not ask_for_slice(SHORT_NS)


def test_a_system_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(slices._SYSCALL, platform.machine(), 1_000_000)  # Linux has no such call
    assert not ask_for_slice(SHORT_NS)
