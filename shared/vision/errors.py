"""Errors about images, data sets and models.

InputError               (shared.component) exit status 1
├── ImageError           bytes are no image this system takes
├── DatasetError         a Dataset folder is missing, damaged or unfit
└── BundleError          a model bundle is missing, damaged or unfit
"""

from __future__ import annotations

from shared.component.errors import InputError


class ImageError(InputError):
    """Bytes are no image this system takes."""


class DatasetError(InputError):
    """A Dataset folder is missing, damaged or unfit for what is asked."""


class BundleError(InputError):
    """A model bundle is missing, damaged or unfit for what is asked."""
