"""Errors about images, data sets and models.

InputError               (shared.component) exit status 1
├── ImageError           bytes are no image this system takes
├── DatasetError         a Dataset folder is missing, damaged or unfit
└── BundleError          a model bundle is missing, damaged or unfit
VisionloopError          (shared.component) exit status 1
└── LibraryError         a library is missing, or of a version this code does not know
"""

from __future__ import annotations

import json

from shared.component.errors import InputError, VisionloopError


class ImageError(InputError):
    """Bytes are no image this system takes."""


class DatasetError(InputError):
    """A Dataset folder is missing, damaged or unfit for what is asked."""


class BundleError(InputError):
    """A model bundle is missing, damaged or unfit for what is asked."""


class LibraryError(VisionloopError):
    """A library is missing, or of a version this code does not know."""


def encode_error(kind: str, message: str, request_id: str) -> bytes:
    """Write an error's body: always JSON, whatever was to be accepted."""
    return json.dumps({"error": kind, "message": message, "request_id": request_id}).encode()
