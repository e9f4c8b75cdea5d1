"""Bodies that are wrong, hostile or huge: a clear error, and the server goes on."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ci.tests.live import IMAGE, Live, assert_error, assert_no_innards
from shared.vision.tests.factories import colour_image

pytestmark = pytest.mark.faults

NPY, JSON = "application/x-npy", "application/json"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def frames(kind: str) -> bytes:
    first, *rest = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "green"))
    return saved(first, kind, save_all=True, append_images=rest)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_with_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, comes again and again."""
    data = saved(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def gif_with_frames(count: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6) + frame * count + b";"


def tiff_with_pages(count: int) -> bytes:
    """A TIFF with so many pages, each the smallest directory there is."""
    image = saved(Image.new("L", (16, 16)), "TIFF")
    (directory,) = struct.unpack("<I", image[4:8])
    (entries,) = struct.unpack("<H", image[directory : directory + 2])
    link = directory + 2 + 12 * entries
    page = struct.pack("<HHHII", 1, 256, 4, 1, 16)  # one entry: the width
    start, size = len(image), len(page) + 4
    pages = (page + struct.pack("<I", start + (n + 1) * size) for n in range(count - 1))
    image = image[:link] + struct.pack("<I", start) + image[link + 4 :]
    return image + b"".join(pages) + page + bytes(4)


PHOTO = saved(Image.effect_noise((300, 200), 90).convert("RGB"), "JPEG")
NO_IMAGES: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"Dear server, this is no image.",
    "noise": lambda: np.random.default_rng(1).bytes(100_000),
    "SVG": lambda: SVG,
    "PDF": lambda: b"%PDF-1.7\n" + bytes(1000),
    "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pickle": lambda: pickle.dumps({"a": 1}),
    "one byte": lambda: b"\xff",
    "truncated JPEG": lambda: PHOTO[: len(PHOTO) // 2],
    "header alone": lambda: PHOTO[:200],
    "truncated PNG": lambda: IMAGE[: len(IMAGE) // 2],
    "truncated WebP": lambda: saved(Image.effect_noise((99, 99), 90), "WEBP")[:-400],
    "animated GIF": lambda: frames("GIF"),
    "animated WebP": lambda: frames("WEBP"),
    "animated PNG": lambda: frames("PNG"),
    "pages": lambda: frames("TIFF"),
    "billion pixels": lambda: png_that_claims(40_000, 25_000),
    "more pixels than 32 bits": lambda: png_that_claims(2**31 - 1, 2**31 - 1),
    "strip": lambda: saved(Image.new("L", (60_000, 1)), "PNG"),
    "upright strip": lambda: saved(Image.new("L", (1, 60_000)), "PNG"),
    "300,000 frames": lambda: gif_with_frames(300_000),
    "100,000 pages": lambda: tiff_with_pages(100_000),
    "20,000 scans": lambda: jpeg_with_scans(4000, 20_000),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_422_and_said_why(server: Live, name: str) -> None:
    body = NO_IMAGES[name]()
    message = assert_error(server.ask(body, timeout_s=5), 422, "UndecodableImage")
    assert message.startswith("image: ")
    assert server.ask().label == "red"


def test_zero_bytes_are_400(server: Live) -> None:
    assert "empty" in assert_error(server.ask(b""), 400, "BadRequest")
    empty = json.dumps({"instances": [{"b64": ""}]}).encode()
    assert "zero bytes" in assert_error(server.ask(empty, JSON), 422, "UndecodableImage")


def test_twenty_megabytes_are_413_and_not_kept(server: Live) -> None:
    front = server.family()[0]
    before = front.memory_info().rss
    parts = (bytes(1 << 20) for _ in range(20))
    for body in (bytes(20 << 20), parts):
        answer = server.ask(body=body)  # type: ignore[arg-type]  # http.client takes both
        assert "bytes" in assert_error(answer, 413, "PayloadTooLarge")
    assert front.memory_info().rss - before < 20 << 20


def test_who_asks_first_is_told_before_twenty_megabytes_are_sent(server: Live) -> None:
    head = "POST /invocations HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 20971520\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode())
        connection.settimeout(2)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "kind", [None, "", "image", "text/plain", "image/svg+xml", "IMAGE/TIFF", "\xff/\xfe", "a" * 900]
)
def test_a_missing_or_wrong_content_type_is_415(server: Live, kind: str | None) -> None:
    assert "content type" in assert_error(server.ask(IMAGE, kind), 415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "name",
    [
        "content-type",
        "accept",
        "x-amzn-sagemaker-custom-attributes",
        "x-amzn-sagemaker-inference-id",
        "cookie",
    ],
)
def test_huge_headers_end_at_our_door(server: Live, name: str) -> None:
    answer = server.ask(headers={name: "x" * 30_000})
    if answer.status == 200:  # not looked at, or cut
        assert answer.label == "red"
    else:
        assert answer.status in (400, 406, 415, 431)
        assert_error(answer, answer.status, answer.json["error"])


@pytest.mark.parametrize("path", ["top-k=\xff", "\xe9\x80", "explain=true;" * 50])
def test_odd_bytes_in_headers_do_no_harm(server: Live, path: str) -> None:
    named = {"x-amzn-sagemaker-custom-attributes": path, "x-amzn-sagemaker-inference-id": path}
    answer = server.ask(headers={name: value.encode("latin-1") for name, value in named.items()})  # type: ignore[misc]
    assert answer.status in (200, 400)
    assert_no_innards(answer)


class _Creates:
    """Pickled, it creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_not_executed(server: Live, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    stream, packed = io.BytesIO(), io.BytesIO()
    objects = np.array([_Creates(proof)], dtype=object)
    np.save(stream, objects, allow_pickle=True)
    np.savez(packed, a=objects)
    for body in (stream.getvalue(), packed.getvalue(), pickle.dumps(_Creates(proof))):
        assert_error(server.ask(body, NPY), 400, "BadRequest")
    assert not proof.exists()
    with pickle.loads(pickle.dumps(_Creates(proof))):  # noqa: S301 - it would have been
        assert proof.exists()


def npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def header(shape: str, descr: str = "'|u1'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()


ARRAYS = {
    "npz": lambda: b"PK\x03\x04" + bytes(100),
    "shape that no memory holds": lambda: npy(header("(1000000000000, 9, 9, 3)")),
    "shape of 30 GB": lambda: npy(header("(100000, 100000, 3)"), bytes(99)),
    "negative shape": lambda: npy(header("(-1, 9, 9, 3)"), bytes(999)),
    "overflowing shape": lambda: npy(header(f"({2**40}, {2**40}, 3)")),
    "more data than shape": lambda: npy(header("(2, 2, 3)"), bytes(999)),
    "less data than shape": lambda: npy(header("(9, 9, 3)"), bytes(9)),
    "no shape": lambda: npy(header("()"), bytes(1)),
    "zero images": lambda: npy(header("(0, 9, 9, 3)")),
    "zero width": lambda: npy(header("(9, 0, 3)")),
    "four channels": lambda: npy(header("(9, 9, 4)"), bytes(324)),
    "floats": lambda: npy(header("(9, 9, 3)", "'<f8'"), bytes(9 * 9 * 3 * 8)),
    "objects": lambda: npy(header("(9, 9, 3)", "'|O'"), bytes(999)),
    "records": lambda: npy(header("(9, 9, 3)", "[('a', '|u1'), ('b', '|O')]"), bytes(999)),
    "nested header": lambda: npy(b"(" * 3000),
    "nested dtype": lambda: npy(header("(9,)", "[" * 900 + "]" * 900)),
    "header of 60 kB": lambda: npy(b"{" + b"1:1," * 15_000 + b"}"),
    "header that is code": lambda: npy(b"__import__('os').getpid()\n"),
    "version 9": lambda: b"\x93NUMPY\x09\x00" + bytes(100),
    "no header": lambda: b"\x93NUMPY",
}


@pytest.mark.parametrize("name", ARRAYS)
def test_absurd_arrays_are_400(server: Live, name: str) -> None:
    assert_error(server.ask(ARRAYS[name](), NPY, timeout_s=5), 400, "BadRequest")
    assert server.ask().label == "red"


def test_an_array_in_any_order_of_memory_is_what_it_says(server: Live) -> None:
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[:] = (200, 50, 40)
    for array in (pixels, np.asfortranarray(pixels)):
        stream = io.BytesIO()
        np.save(stream, array)
        assert server.ask(stream.getvalue(), NPY).label == "red"


DOCUMENTS = {
    "no JSON": lambda: b"{",
    "no text": lambda: b"\xff\xfe\x00",
    "deep lists": lambda: b"[" * 1_000_000,
    "deep instances": lambda: b'{"instances":' * 200_000,
    "closed deep lists": lambda: b"[" * 500_000 + b"]" * 500_000,
    "huge integer": lambda: b'{"instances": ' + b"9" * 1_000_000 + b"}",
    "huge exponent": lambda: b'{"instances": [1e999999]}',
    "NaN": lambda: b'{"instances": [NaN]}',
    "no object": lambda: b"null",
    "two million lists": lambda: b"[" + b"[]," * 1_900_000 + b"[]]",
    "no base64": lambda: b'{"instances": [{"b64": "****"}]}',
    "b64 of a number": lambda: b'{"instances": [{"b64": 7}]}',
    "lone surrogate": lambda: b'{"instances": [{"b64": "\\ud800"}]}',
    "two keys": lambda: b'{"instances": [{"b64": "", "s3_uri": ""}]}',
    "no instances": lambda: b'{"instances": []}',
    "file URI": lambda: b'{"instances": [{"s3_uri": "file:///etc/passwd"}]}',
    "odd URI": lambda: b'{"instances": [{"s3_uri": "s3://[::1/x"}]}',
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_bombs_are_400(server: Live, name: str) -> None:
    assert_error(server.ask(DOCUMENTS[name](), JSON, timeout_s=10), 400, "BadRequest")
    assert server.ask().label == "red"


@pytest.mark.parametrize("uri", ["s3://theirs/a.jpg", "s3://ours/../theirs/a.jpg", "s3://ours.x/a"])
def test_other_buckets_are_403(server: Live, uri: str) -> None:
    body = json.dumps({"instances": [{"s3_uri": uri}]}).encode()
    assert_error(server.ask(body, JSON), 403, "Forbidden")


def instances(images: list[bytes]) -> bytes:
    return json.dumps(
        {"instances": [{"b64": base64.b64encode(i).decode()} for i in images]}
    ).encode()


def test_a_million_instances_and_thousands_of_tiny_images_are_413(server: Live) -> None:
    tiny = saved(Image.new("RGB", (2, 2), "red"), "PNG")
    for body in (b'{"instances": [' + b"{}," * 1_000_000 + b"{}]}", instances([tiny] * 5000)):
        assert "the most is 256" in assert_error(server.ask(body, JSON), 413, "PayloadTooLarge")
    array = npy(header("(5000, 2, 2, 3)"), bytes(60_000))
    assert "5000 images" in assert_error(server.ask(array, NPY), 413, "PayloadTooLarge")
    answer = server.ask(instances([tiny] * 256), JSON)
    assert [p["label"] for p in answer.json["predictions"]] == ["red"] * 256


def test_one_wrong_image_among_many_is_named(server: Live) -> None:
    body = instances([IMAGE, SVG, IMAGE])
    message = assert_error(server.ask(body, JSON), 422, "UndecodableImage")
    assert message.startswith("image 2 of 3: ")


def test_eighty_million_pixels_are_answered_and_more_of_them_refused(server: Live) -> None:
    flat = saved(Image.new("RGB", (10_000, 8000), (200, 50, 40)), "PNG")
    assert len(flat) < 400_000
    assert server.ask(flat).label == "red"
    answer = server.ask(instances([flat] * 10), JSON, timeout_s=20)
    assert "pixels" in assert_error(answer, 413, "PayloadTooLarge")


def test_a_worker_that_had_eighty_million_pixels_gives_their_memory_back(server: Live) -> None:
    rgba = saved(Image.new("RGBA", (10_000, 8000), (200, 50, 40, 255)), "PNG")
    assert server.ask(rgba).label == "red"
    sizes = [worker.memory_info().rss / 1e6 for worker in server.workers()]
    assert max(sizes) < 700, sizes


def test_right_requests_are_right_after_all_that(server: Live) -> None:
    for name in ("red", "green", "blue"):
        assert server.ask(colour_image(name, 7)).label == name
    assert server.ping() == 200
    assert len(server.workers()) == 2
    assert "Traceback" not in server.said()
