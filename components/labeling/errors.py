"""Errors of the labelling component; the root and its exit statuses are the components'.

VisionloopError          shared.component.errors, exit status 1
├── ConfigError          a project's labels and the model's are not the same, or cannot be read
├── AwayError            a service that this one needs gives no answer now; later it may
│   ├── EndpointAwayError     the endpoint
│   ├── QueueAwayError        the review queue, or where annotations lie
│   └── StudioAwayError       Label Studio
├── StudioError          Label Studio refuses
└── NoSuggestionError         one image gets none; `reason` says why in one word
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class ConfigError(VisionloopError):
    """A project's labels and the model's are not the same, or cannot be read."""


class AwayError(VisionloopError):
    """A service that this one needs gives no answer now; later it may."""


class EndpointAwayError(AwayError):
    """The endpoint gives no answer."""


class QueueAwayError(AwayError):
    """S3 gives no answer."""


class StudioAwayError(AwayError):
    """Label Studio gives no answer."""


class StudioError(VisionloopError):
    """Label Studio refuses; its words are in the message."""


class NoSuggestionError(VisionloopError):
    """One image gets no suggestion.

    reason: one word of few, counted in the log: place, missing, size, refused, late, away, odd.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
