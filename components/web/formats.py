"""Which image format bytes begin as; whether they are a sound image is the model's to say."""

from __future__ import annotations

from components.web.errors import BadInput

# By the names that the review queue gives its files.
_BEGINS = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}


def image_extension(data: bytes) -> str:
    """Return jpg, png or webp.

    Raises:
        BadInput: the bytes begin as none of them.
    """
    for extension, begin in _BEGINS.items():
        if data.startswith(begin):
            return extension
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise BadInput("this is no JPEG, PNG or WebP image; choose a photo in one of these formats")
