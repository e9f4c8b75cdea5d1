"""Which images people see without a suggestion; asked by the ML backend and by merge alike.

Who always sees the model's answer first comes to agree with it. So some see none: the audit
sample (it measures the model), gold images (they measure the annotator), and a share of all
others, which shows what the same people say of the same kind of image without being led.
"""

from __future__ import annotations

import hashlib

_SCALE = 2**64


def is_blind(sha256: str, share: float) -> bool:
    """Tell whether an image belongs to the blind share; anybody comes to the same answer.

    sha256: of the image, in hexadecimal; it is hashed once more, so that the share is
        independent of every other choice made by an image's own hash.
    share: in [0, 1].
    """
    digest = hashlib.sha256(f"blind:{sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * _SCALE
