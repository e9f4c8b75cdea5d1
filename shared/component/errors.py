"""Errors a person can act on; each message says what, where and the remedy.

VisionloopError          exit status 1
├── SpecError            a component.yaml is wrong, or used wrongly
├── UsageError           exit status 2: a flag or parameter is missing or impossible
├── InputError           an input artifact is missing, empty or unreadable
├── OutputError          an output cannot be written
└── StorageError         a URI cannot be read or written
"""

from __future__ import annotations


class VisionloopError(Exception):
    """Root of all errors that are shown to a person without a stack trace."""

    exit_status = 1


class SpecError(VisionloopError):
    """A component.yaml is wrong, or a port is used against its declaration."""


class UsageError(VisionloopError):
    """A flag or a parameter is missing or impossible."""

    exit_status = 2


class InputError(VisionloopError):
    """An input artifact is missing, empty or unreadable."""


class OutputError(VisionloopError):
    """An output cannot be written."""


class StorageError(VisionloopError):
    """A URI cannot be read or written."""
