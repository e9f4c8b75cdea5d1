"""What ends the server.

VisionloopError          (shared.component) exit status 1
└── ServingError         the model server cannot start or has died
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class ServingError(VisionloopError):
    """The model server cannot start, or has died."""
