"""Image files of every kind a camera, a scanner or a web page makes, drawn here."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_ORIENTATION = 0x0112


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Draw soft light, hard edges and grain: what decoders and resizers differ on."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = generator.integers(0, (width, height))
        w, h = generator.integers(1, (max(2, width // 3), max(2, height // 3)))
        draw.rectangle((x, y, x + w, y + h), fill=tuple(generator.integers(0, 256, 3).tolist()))
    grain = generator.integers(-12, 13, (height, width, 1), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def sixteen_bit_png(image: Image.Image) -> bytes:
    """Write RGB with 16 bits a sample, which Pillow reads but does not write."""
    pixels = (np.asarray(image).astype(np.uint32) * 257).astype(">u2")  # [H, W, 3]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each led by its filter: none
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def twelve_megapixels(seed: int = 12) -> bytes:
    """Return a JPEG as a phone's camera makes it: 4000 x 3000."""
    return saved(picture(4000, 3000, seed), "JPEG", quality=80)


def raw_files() -> dict[str, bytes]:
    """Return a file of each kind by its name; no two show the same."""
    rotated = Image.Exif()
    rotated[_ORIENTATION] = 6
    deep = np.asarray(picture(90, 70, 9).convert("L")).astype(np.uint16) * 257
    see_through = picture(120, 80, 7).convert("RGBA")
    see_through.putalpha(picture(120, 80, 70).convert("L"))
    palette = picture(130, 90, 8).quantize(64)
    return {
        "plain.jpeg": saved(picture(200, 150, 1), "JPEG", quality=90),
        "plain.png": saved(picture(160, 120, 2), "PNG"),
        "plain.webp": saved(picture(150, 150, 3), "WEBP", quality=80),
        "grey.jpeg": saved(picture(140, 100, 4).convert("L"), "JPEG"),
        "grey.png": saved(picture(100, 140, 5).convert("L"), "PNG"),
        "cmyk.jpeg": saved(picture(110, 90, 6).convert("CMYK"), "JPEG", quality=95),
        "rotated.jpeg": saved(picture(160, 90, 10), "JPEG", exif=rotated),
        "alpha.png": saved(see_through, "PNG"),
        "palette.png": saved(palette, "PNG", transparency=3),
        "16-bit-grey.png": saved(Image.fromarray(deep), "PNG"),
        "16-bit.png": sixteen_bit_png(picture(80, 60, 18)),
        "still.gif": saved(picture(60, 60, 11), "GIF"),
        "plain.bmp": saved(picture(70, 60, 13), "BMP"),
        "progressive.jpeg": saved(picture(640, 480, 14), "JPEG", progressive=True),
        "8x8.png": saved(picture(8, 8, 15), "PNG"),
        "31x97.jpeg": saved(picture(31, 97, 16), "JPEG"),
        "500x333.jpeg": saved(picture(500, 333, 17), "JPEG"),
        "12-megapixel.jpeg": twelve_megapixels(),
    }
