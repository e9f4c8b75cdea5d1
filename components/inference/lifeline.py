"""End a process with the one that started it, however that went: Linux tells by a signal.

Without it a server killed with -9 would leave its JVM, the JVM its Python, that Python its
workers (one that waits for Java to open its pipes would wait for good), and a collector its
drift test. Java starts Python from one of its threads, and Linux tells of the end of a
thread, too; so Python looks whether its parent is really gone.
"""

from __future__ import annotations

import ctypes
import os
import signal

import psutil

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int) -> None:
    """In a child, right after its fork: be killed when that process, its parent, has gone.

    Of a parent with threads, the one that forks must be its main thread.
    """
    _ask_for(signal.SIGKILL)
    if os.getppid() != parent:  # it went before it was asked for; in a container it is number 1
        os._exit(1)


def end_with_java() -> None:
    """In a process that a thread of Java started: end when the whole of Java has gone.

    starter.py does. Java leads the process group (model_server.py), so its id is known even
    where it went before this was called.
    """

    def look(*_: object) -> None:
        if os.getppid() != os.getpgrp():
            os._exit(1)

    signal.signal(signal.SIGHUP, look)
    _ask_for(signal.SIGHUP)
    look()


def runs(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; a zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two
        return False


def _ask_for(number: signal.Signals) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
