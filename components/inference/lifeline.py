"""End a process with the one that started it, however that went: Linux tells by a signal.

Without it a server killed with -9 would leave its JVM, the JVM its Python, and a
collector its drift test. Java starts Python from one of its threads, and Linux tells of
the end of a thread, too; so Python looks whether its parent is really gone.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int) -> None:
    """In a child between fork and exec: be killed when that process, its parent, has gone."""
    _ask_for(signal.SIGKILL)
    if os.getppid() != parent:  # it went before it was asked for; in a container it is number 1
        os._exit(1)


def end_with_java() -> None:
    """In a process that a thread of Java started: end when the whole of Java has gone.

    Java leads the process group (model_server.py), so its id is known even where it went
    before this was called.
    """

    def look(*_: object) -> None:
        if os.getppid() != os.getpgrp():
            os._exit(1)

    signal.signal(signal.SIGHUP, look)
    _ask_for(signal.SIGHUP)
    look()


def _ask_for(number: signal.Signals) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
