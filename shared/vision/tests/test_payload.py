"""What a request may look like, and what each wrong one is told."""

from __future__ import annotations

import base64
import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from shared.component.errors import StorageError
from shared.vision.payload import (
    MAX_IMAGES,
    BadRequest,
    Forbidden,
    NotAcceptable,
    Options,
    PayloadTooLarge,
    RequestError,
    S3Images,
    UndecodableImage,
    UnsupportedMediaType,
    choose_response_type,
    read_images,
)


def npy(array: np.ndarray, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def instances(*entries: object) -> bytes:
    return json.dumps({"instances": entries}).encode()


B64 = base64.b64encode(b"pixels").decode()


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "image/png", "IMAGE/WEBP", "application/x-image; charset=binary"]
)
def test_an_image_type_is_one_image_as_sent(kind: str) -> None:
    assert read_images(b"anything", kind) == [b"anything"]


def test_an_array_is_one_image_or_many() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 5, 7, 3), dtype=np.uint8)
    both = read_images(npy(pixels), "application/x-npy")
    (first,) = read_images(npy(pixels[0]), "application/x-npy")
    assert all(isinstance(image, Image.Image) for image in both)
    assert np.array_equal([np.asarray(image) for image in both], pixels)
    assert np.array_equal(np.asarray(first), pixels[0])


def test_json_carries_images_in_base64_alone_or_in_a_list() -> None:
    assert read_images(instances({"b64": B64}, {"b64": B64}), "application/json") == [b"pixels"] * 2
    assert read_images(json.dumps({"b64": B64}).encode(), "application/json") == [b"pixels"]


def test_s3_is_read_from_allowed_buckets_alone() -> None:
    def read(uri: str, max_bytes: int) -> bytes:
        if uri.endswith("gone"):
            raise StorageError("storage: nothing there")
        return f"{uri} {max_bytes}".encode()

    s3 = S3Images(("mine",), read, max_bytes=9)
    found = read_images(instances({"s3_uri": "s3://mine/a.jpg"}), "application/json", s3)
    assert found == [b"s3://mine/a.jpg 9"]
    for uri in ("s3://theirs/a.jpg", "s3://mine/../theirs/a.jpg"):
        with pytest.raises(Forbidden):
            read_images(instances({"s3_uri": uri}), "application/json", s3)
    with pytest.raises(Forbidden, match="no bucket"):
        read_images(instances({"s3_uri": "s3://mine/a.jpg"}), "application/json")
    with pytest.raises(BadRequest, match="s3://bucket/key"):
        read_images(instances({"s3_uri": "file:///etc/hostname"}), "application/json", s3)
    with pytest.raises(UndecodableImage, match="cannot read"):
        read_images(instances({"s3_uri": "s3://mine/gone"}), "application/json", s3)


class _Planted:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


WRONG_ARRAYS = {
    "pickled": npy(np.array([_Planted()], dtype=object), allow_pickle=True),
    "bare pickle": pickle.dumps([1, 2]),
    "archive": b"PK\x03\x04" + b"\0" * 40,
    "float": npy(np.zeros((4, 4, 3), np.float32)),
    "grey": npy(np.zeros((4, 4), np.uint8)),
    "four channels": npy(np.zeros((4, 4, 4), np.uint8)),
    "no pixels": npy(np.zeros((0, 4, 3), np.uint8)),
    "truncated": npy(np.zeros((40, 40, 3), np.uint8))[:300],
    "claims a terabyte": b"\x93NUMPY\x01\x00\x76\x00"
    + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 3), }".ljust(117)
    + b"\n",
    "header is no literal": b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 117 + b"\n",
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_a_wrong_array_is_refused_and_never_unpickled(name: str) -> None:
    with pytest.raises(BadRequest):
        read_images(WRONG_ARRAYS[name], "application/x-npy")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b"[" * 100_000,
        b'{"instances": {}}',
        b'{"instances": [1]}',
        b'{"instances": [{"b64": 1}]}',
        b'{"instances": [{"b64": "???"}]}',
        b'{"instances": [{"b64": "AA==", "more": 1}]}',
        b'{"instances": []}',
        b'{"instances": [{"b64": "\xff"}]}',
        b'{"b64": ' + b"9" * 10_000 + b"}",
    ],
)
def test_wrong_json_is_refused_with_the_shape_it_should_have(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        read_images(body, "application/json")
    assert refused.value.status == 400


def test_other_content_types_are_named_with_those_taken() -> None:
    for kind in ("", "text/plain", "image/svg+xml", "multipart/form-data"):
        with pytest.raises(UnsupportedMediaType, match=r"image/jpeg, .*application/json"):
            read_images(b"x", kind)


def test_an_empty_body_and_too_many_images_are_refused() -> None:
    with pytest.raises(BadRequest, match="empty"):
        read_images(b"", "image/jpeg")
    many = instances(*({"b64": ""} for _ in range(MAX_IMAGES + 1)))
    with pytest.raises(PayloadTooLarge, match=str(MAX_IMAGES)):
        read_images(many, "application/json")
    with pytest.raises(PayloadTooLarge):
        read_images(npy(np.zeros((MAX_IMAGES + 1, 1, 1, 3), np.uint8)), "application/x-npy")


def test_a_strip_of_pixels_is_refused_before_it_is_enlarged() -> None:
    with pytest.raises(UndecodableImage, match="times the other"):
        read_images(npy(np.zeros((1, 100_000, 3), np.uint8)), "application/x-npy")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("text/html, application/jsonlines;q=0.5", "application/jsonlines"),
        ("application/json;q=0.2, application/x-npy;q=0.9", "application/x-npy"),
        ("application/json;q=0, application/jsonlines", "application/jsonlines"),
    ],
)
def test_the_client_chooses_the_response_type(accept: str, chosen: str) -> None:
    assert choose_response_type(accept) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=x"])
def test_what_is_not_offered_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose_response_type(accept)


def test_options_are_read_and_unknown_ones_refused() -> None:
    assert Options.parse("") == Options()
    assert Options.parse("top-k=3; Explain=TRUE") == Options(3, True)
    assert Options.parse("explain=false,top-k=1") == Options(1, False)
    assert Options.parse("record=false") == Options(record=False)
    for text in ("top-k=0", "top-k=-1", "top-k=x", "top-k=²", "explain=1", "c", "topk=1"):
        with pytest.raises(BadRequest, match="top-k=N"):
            Options.parse(text)


def test_every_refusal_is_a_request_error_with_a_client_status() -> None:
    kinds = [
        BadRequest,
        Forbidden,
        NotAcceptable,
        PayloadTooLarge,
        UndecodableImage,
        UnsupportedMediaType,
    ]
    assert [kind.status for kind in kinds] == [400, 403, 406, 413, 422, 415]
    assert all(issubclass(kind, RequestError) for kind in kinds)
