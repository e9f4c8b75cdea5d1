"""Errors of fetch_data.

InputError               (shared.component) exit status 1
├── ArchiveError         an archive is damaged, unsafe or too large
└── LayoutError          no images by class where they should be
StorageError             (shared.component) exit status 1
└── AwayError            a place fails now; later it may not
"""

from __future__ import annotations

from shared.component.errors import InputError, StorageError


class ArchiveError(InputError):
    """An archive is damaged, unsafe or too large; nothing of it was kept."""


class LayoutError(InputError):
    """A source holds no images by class."""


class AwayError(StorageError):
    """A place fails now; later it may not."""
