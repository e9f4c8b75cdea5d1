"""Bytes to pixels, in one place: what is an image, and how it becomes RGB.

Training, evaluation and serving decode through `decode_rgb`, so a CMYK, palette,
16-bit, transparent or EXIF-rotated image means the same pixels everywhere.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from shared.vision.errors import ImageError

# Pillow opens MPO, a JPEG with a second picture (depth, preview) behind it that many
# phones write, as JPEG; asked for by name it raises KeyError.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 80_000_000  # a 100 kB file can claim 10^9; a phone's largest is 50 million
# The shorter side is scaled to the model's; of a strip the longer one would fill the memory.
MAX_ASPECT = 32
# A scan of a few bytes costs a pass over all pixels, and a file can hold 100,000 of them; a
# real one has ten or so.
MAX_SCANS = 64
_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
_BAND_PIXELS = 1 << 20
_EXIF_ORIENTATION = 0x0112
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# A GIF of 3 kB makes Pillow take gigabytes before it has said its size; Pillow refuses
# twice its limit, and warns from there on, where we refuse.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@dataclass(frozen=True)
class ImageFacts:
    """What the file says about itself; width and height before EXIF rotation."""

    format: str
    mode: str
    width: int
    height: int
    is_animated: bool
    exif_orientation: int
    is_16_bit: bool

    def conversions(self) -> list[str]:
        """Name what `decode_rgb` changes beyond decoding; empty for plain 8-bit RGB."""
        found = []
        if self.mode == "CMYK":
            found.append("CMYK")
        if self.mode == "P":
            found.append("palette")
        if self.mode in ("L", "1", "LA"):
            found.append("grey")
        if self.mode in ("RGBA", "LA", "PA"):
            found.append("alpha")
        if self.is_16_bit:
            found.append("16-bit")
        if self.exif_orientation not in (0, 1):
            found.append("EXIF-rotated")
        return found


def inspect(data: bytes) -> ImageFacts:
    """Read the header only.

    Raises:
        ImageError: no image, a format not taken, or more than MAX_PIXELS.
    """
    with _opened(data) as image:
        return _facts(image, data)


def decode_rgb(data: bytes, at_least: int | None = None) -> Image.Image:
    """Decode the whole image, upright, 8-bit RGB; transparency becomes white.

    at_least: shorter side in pixels that suffices; a larger JPEG is then decoded at
        1/2, 1/4 or 1/8 of its size (libjpeg's scaled decoding), never below it.
    Raises:
        ImageError: damaged, truncated, animated, or no image.
    """
    return decode_with_facts(data, at_least)[0]


def decode_with_facts(data: bytes, at_least: int | None = None) -> tuple[Image.Image, ImageFacts]:
    """Do what `decode_rgb` does and return what the file said about itself as well."""
    with _opened(data) as image:
        facts = _facts(image, data)
        if facts.is_animated:
            raise ImageError("image: animated, more than one frame; give a still image")
        try:
            if facts.format in ("JPEG", "MPO"):
                _check_scans(data)
                if at_least:
                    _decode_scaled(image, at_least)
            image.load()
            if facts.exif_orientation > 1:
                return _to_rgb(ImageOps.exif_transpose(image) or image), facts
            return _to_rgb(image), facts
        except _DAMAGE as err:
            raise ImageError(f"image: damaged or truncated ({facts.format}): {err}") from err


def check_size(width: int, height: int) -> None:
    """Refuse what would not fit into memory.

    Raises:
        ImageError: more than MAX_PIXELS, or one side more than MAX_ASPECT times the other.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(f"image: {width} x {height} pixels; the most is {MAX_PIXELS:,}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"image: {width} x {height} pixels; one side is more than {MAX_ASPECT} times the other"
        )


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise ImageError("image: empty, zero bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise ImageError(f"image: more than {MAX_PIXELS:,} pixels") from err
    except _DAMAGE as err:
        raise ImageError("image: not one of " + ", ".join(FORMATS)) from err
    check_size(image.width, image.height)
    return image


def _facts(image: Image.Image, data: bytes) -> ImageFacts:
    try:
        return ImageFacts(
            format=image.format or "",
            mode=image.mode,
            width=image.width,
            height=image.height,
            # Not n_frames, which reads on to the last of maybe a million.
            is_animated=getattr(image, "is_animated", False) and image.format != "MPO",
            exif_orientation=int(image.getexif().get(_EXIF_ORIENTATION, 1)),
            is_16_bit=image.mode.startswith("I") or (image.format == "PNG" and data[24] == 16),
        )
    except _DAMAGE as err:
        raise ImageError(f"image: damaged header ({image.format}): {err}") from err


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG that would be decoded for minutes."""
    if data.count(_SCAN) <= MAX_SCANS:
        return
    # What other segments hold, and what follows the image, may look like scans: walk.
    scans, position = 0, 2
    while (found := _MARKER.search(data, position)) and found[1] != b"\xd9":
        scans += found[0] == _SCAN
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        if scans > MAX_SCANS:
            raise ImageError(f"image: more than {MAX_SCANS} scans in a JPEG; save it anew")


def _decode_scaled(image: Image.Image, at_least: int) -> None:
    """Ask libjpeg for the smallest scale whose shorter side still suffices."""
    shorter = min(image.size)
    if shorter > at_least:
        factor = at_least / shorter
        image.draft("RGB", (int(image.width * factor) + 1, int(image.height * factor) + 1))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert band by band: of MAX_PIXELS at once the copies in between would take 2 GB."""
    if image.mode == "RGB":
        return image
    width, height = image.size
    if width * height <= _BAND_PIXELS:
        return _converted(image)
    whole = Image.new("RGB", image.size)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        whole.paste(_converted(band), (0, top))
    return whole


def _converted(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits a sample; convert() would clip at 255
        samples = np.nan_to_num(np.asarray(image).astype(np.float64))
        image = Image.fromarray(np.clip(samples / 257.0, 0, 255).round().astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
