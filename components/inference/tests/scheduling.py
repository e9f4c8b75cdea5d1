"""What Linux says of a process's slice."""

from __future__ import annotations

import ctypes
import platform
import struct

import pytest

_GET = {"x86_64": 315, "aarch64": 275}  # sched_getattr
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def slice_ns(pid: int) -> int:
    """Return what Linux says is a process's slice: 0 before 6.12."""
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    number = _GET[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, pid, found, _ATTRIBUTES.size, 0) == 0
    return int(_ATTRIBUTES.unpack(found.raw)[5])


def needs_slices() -> None:
    """Skip where Linux has no slices of one's own."""
    if platform.system() != "Linux" or platform.machine() not in _GET or not slice_ns(0):
        pytest.skip("needs a Linux that has slices of one's own: 6.12")
