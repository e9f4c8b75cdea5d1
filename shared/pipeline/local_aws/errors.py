"""Errors as AWS's API gives them.

VisionloopError              shared.component.errors
└── ApiError                 a code that boto3's callers look at, a message, an HTTP status
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class ApiError(VisionloopError):
    """An answer other than 200; `code` is what ClientError has as Error.Code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def missing(message: str) -> ApiError:
    return ApiError("ResourceNotFound", message)
