"""Errors of the house's own commands; the root and its exit statuses are the components'.

VisionloopError          shared.component.errors, exit status 1
├── EngineError          no engine, no BuildKit, no space on its disk
├── BuildError           an image cannot be built, or is not what it should be
├── PushError            a registry refuses
├── DeployError          a stack cannot be created or updated
├── HistoryError         a commit range cannot be read
├── SbomError            an image's packages cannot be listed
├── AuditError           packages are known to be vulnerable, or the allow-list is wrong
├── TemplateError        a template of ci/stacks cannot be read, or holds what nothing knows
├── CleanupError         what to remove is not clear, or is not confirmed
├── WakeError            retrain's queue cannot be reached
├── InviteError          a stage has no user pool, or it refuses
├── ScanError            an image is known to be vulnerable, or its scan cannot be read
└── ServiceError         exit status 3: an outside service gave no answer; nothing is known
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class EngineError(VisionloopError):
    """The Docker engine or its command line is not there, or lacks something."""


class BuildError(VisionloopError):
    """An image cannot be built, or is not what it should be."""


class PushError(VisionloopError):
    """A registry refuses an image."""


class DeployError(VisionloopError):
    """A stack cannot be created or updated."""


class HistoryError(VisionloopError):
    """A commit range cannot be read."""


class SbomError(VisionloopError):
    """An image's packages cannot be listed."""


class AuditError(VisionloopError):
    """Packages are known to be vulnerable, or the allow-list is wrong."""


class TemplateError(VisionloopError):
    """A template of ci/stacks cannot be read, or holds what nothing knows."""


class CleanupError(VisionloopError):
    """What to remove is not clear, or is not confirmed."""


class InviteError(VisionloopError):
    """A stage has no user pool, or it refuses."""


class WakeError(VisionloopError):
    """The queue of retrain cannot be reached."""


class ScanError(VisionloopError):
    """An image is known to be vulnerable, or its scan cannot be read."""


class ServiceError(VisionloopError):
    """An outside service gave no answer: neither good nor bad is known."""

    exit_status = 3
