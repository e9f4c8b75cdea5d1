"""Errors of the pages; each has one HTTP status, and a message that a visitor may read.

VisionloopError          shared.component.errors, exit status 1
└── WebError             500
    ├── NotLoggedIn      401  a page leads to the login instead
    ├── Forbidden        403  the role is too small, or the CSRF token is wrong
    ├── NotFound         404
    ├── Conflict         409  what is asked does not fit what is there
    ├── BadInput         422  a value is none, or out of its range
    ├── ModelRefused     the model's own: 400, 413, 415, 422
    ├── TooMany          429
    ├── Failed           502  the model, or AWS, answers wrongly
    └── Away             503  the model, or a service of AWS, gives no answer now
        └── Waking       503  it is being started; try again
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class WebError(VisionloopError):
    """Root; `status` is the HTTP status."""

    status = 500
    retry_after_s = 0

    @property
    def kind(self) -> str:
        """Return the name that the API's clients see."""
        return type(self).__name__


class NotLoggedIn(WebError):  # noqa: N818 - HTTP's own words
    """Nobody knows who this is."""

    status = 401


class Forbidden(WebError):  # noqa: N818
    """This visitor may not do that."""

    status = 403


class NotFound(WebError):  # noqa: N818
    """There is no such thing."""

    status = 404


class Conflict(WebError):  # noqa: N818
    """What is asked does not fit what is there."""

    status = 409


class BadInput(WebError):  # noqa: N818
    """A value is none, or out of its range."""

    status = 422


class ModelRefused(WebError):  # noqa: N818
    """The model does not take this image; the status is the model's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TooMany(WebError):  # noqa: N818
    """Too many requests."""

    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Failed(WebError):  # noqa: N818
    """Somebody behind the pages answers wrongly."""

    status = 502


class Away(WebError):  # noqa: N818
    """Somebody behind the pages gives no answer now."""

    status = 503


class Waking(Away):
    """The model is being started."""

    retry_after_s = 3
