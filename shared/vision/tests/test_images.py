"""Whatever bytes arrive become upright 8-bit RGB, or one clear error."""

from __future__ import annotations

import io
import resource
import struct

import numpy as np
import pytest
from PIL import Image

from shared.vision import images
from shared.vision.errors import ImageError
from shared.vision.images import decode_rgb, inspect
from shared.vision.tests.factories import encode

GRADIENT = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))  # 48 x 64


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def photo(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_format_decodes_to_rgb_of_the_same_size(kind):
    image = decode_rgb(saved(photo(), kind))
    assert (image.mode, image.size) == ("RGB", (64, 48))


def test_cmyk_keeps_its_colours():
    red = Image.new("RGB", (32, 32), (220, 30, 30)).convert("CMYK")
    data = saved(red, "JPEG", quality=95)
    assert inspect(data).conversions() == ["CMYK"]
    assert np.allclose(np.asarray(decode_rgb(data)).mean(axis=(0, 1)), (220, 30, 30), atol=12)


def test_sixteen_bits_are_scaled_and_not_clipped():
    data = saved(Image.fromarray(GRADIENT.astype(np.uint16) * 257), "PNG")
    assert "16-bit" in inspect(data).conversions()
    assert np.array_equal(np.asarray(decode_rgb(data))[..., 0], GRADIENT)


def test_transparency_becomes_white_not_what_hides_below():
    hidden = np.zeros((16, 16, 4), dtype=np.uint8)  # black, and wholly transparent
    assert np.asarray(decode_rgb(encode(hidden))).min() == 255


def test_a_transparent_palette_becomes_white():
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30] * 256)
    data = saved(image, "PNG", transparency=0)
    assert np.asarray(decode_rgb(data)).min() == 255


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    data = saved(photo(), "JPEG", exif=exif)
    assert inspect(data).conversions() == ["EXIF-rotated"]
    assert decode_rgb(data).size == (48, 64)


def test_a_large_jpeg_is_decoded_scaled_and_close_to_the_full_decode():
    data = saved(photo(1600, 1200), "JPEG", quality=95)
    scaled = decode_rgb(data, at_least=256)
    assert 256 <= min(scaled.size) < 600
    small = scaled.resize((64, 48), Image.Resampling.BOX)
    full = decode_rgb(data).resize((64, 48), Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(full, int)).mean() < 2


def test_a_truncated_file_is_refused():
    data = saved(photo(400, 300), "JPEG")
    with pytest.raises(ImageError, match="damaged or truncated"):
        decode_rgb(data[: len(data) // 2])


def test_an_animation_is_refused():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        decode_rgb(data)


@pytest.mark.parametrize("data", [b"", b"not an image", b"<svg></svg>", b"\xff\xd8\xff"])
def test_other_bytes_are_refused(data):
    with pytest.raises(ImageError):
        decode_rgb(data)


def test_a_decompression_bomb_is_refused_by_its_header():
    data = saved(Image.new("1", (20_000, 5_000)), "PNG")  # 10^8 pixels in 13 kB
    assert len(data) < 20_000
    with pytest.raises(ImageError, match="pixels"):
        decode_rgb(data)


def test_a_gif_whose_frame_claims_gigabytes_is_refused_before_they_are_taken():
    frame = b"\x21\xf9\x04\x08\x00\x00\x00\x00"  # to be disposed of: Pillow makes room
    frame += b"\x2c" + struct.pack("<HHHHB", 60_000, 60_000, 60_000, 60_000, 0)
    data = b"GIF89a" + struct.pack("<HHBBB", 40, 40, 0x80, 0, 0) + bytes(6) + frame
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="pixels"):
        decode_rgb(data + b"\x02\x02\x44\x01\x00;")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_jpeg_of_thousands_of_scans_is_refused_and_what_looks_like_scans_is_not():
    data = saved(photo(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        decode_rgb(data[:last] + data[last:-2] * 100 + data[-2:])
    trailer = b"\xff\xda" * 100  # behind the image: a motion photo's film
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(trailer)) + trailer
    assert decode_rgb(data[:2] + comment + data[2:] + trailer).size == (64, 48)


def test_large_images_are_converted_in_bands_to_the_same_pixels(monkeypatch):
    samples = np.random.default_rng(1).integers(0, 65536, (50, 40)).astype(np.uint16)
    alpha = np.random.default_rng(2).integers(0, 256, (50, 40, 4)).astype(np.uint8)
    for data in (saved(Image.fromarray(samples), "PNG"), encode(alpha)):
        whole = np.asarray(decode_rgb(data))
        monkeypatch.setattr(images, "_BAND_PIXELS", 300)
        assert np.array_equal(np.asarray(decode_rgb(data)), whole)
        monkeypatch.undo()
