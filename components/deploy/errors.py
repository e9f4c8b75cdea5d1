"""Errors of a deployment: the state machine is told the class's name, a person the message.

VisionloopError              shared.component.errors
└── DeployError
    ├── WithdrawnError       the package is no longer approved; not a failure
    ├── StagingError         what is to be tested does not come up
    ├── SmokeTestError       a golden image is answered wrongly, or not at all
    ├── PromotionError       traffic did not get there, or was taken back
    ├── RollBackError        what served before cannot be brought back; a person must
    └── TimedOutError        a step takes longer than it may
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class DeployError(VisionloopError):
    """A deployment cannot go on."""


class WithdrawnError(DeployError):
    """The package is no longer approved."""


class StagingError(DeployError):
    """What is to be tested before it gets traffic does not come up."""


class SmokeTestError(DeployError):
    """A golden image is answered wrongly, or not at all."""


class PromotionError(DeployError):
    """Traffic did not get to the new version, or was taken back from it."""


class RollBackError(DeployError):
    """What served before cannot be brought back."""


class TimedOutError(DeployError):
    """A step takes longer than it may."""
