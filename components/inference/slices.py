"""How long a process may keep a core before others have their turn, where Linux lets it say so.

Linux gives every process the same slice and lets it finish, milliseconds, though another
has woken meanwhile. On machines with as many workers as cores a message of a tenth of a
millisecond then waits for a forward pass to be interrupted by the clock, at every process
it passes. Since Linux 6.12 a process may ask for a shorter slice: it runs sooner and no
more often. Children inherit it. Older systems take the request and do nothing.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct

log = logging.getLogger(__name__)
SHORT_NS = 100_000  # the least that Linux takes
_SYSCALL = {"x86_64": 314, "aarch64": 274}  # sched_setattr, which neither libc nor Python has
# struct sched_attr, version 0: size, policy, flags, nice, priority, runtime, deadline, period
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")


def ask_for_slice(slice_ns: int = 0) -> bool:
    """Ask for a slice for the calling thread and what it starts; 0: the system's own.

    Returns: False where the system has no such thing or does not allow it.
    """
    number = _SYSCALL.get(platform.machine())
    if number is None or platform.system() != "Linux":
        return False
    policy, niceness = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, niceness, 0, slice_ns, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0, attributes, 0):
        log.debug("no slice of %d ns: %s", slice_ns, os.strerror(ctypes.get_errno()))
        return False
    return True
