"""From the body of a request to images, and what a client may have done wrong.

RequestError             400  HTTP status in `status`; the message is for the client
├── BadRequest           400  empty body, no JSON, wrong shape, pickled array, unknown option
├── Forbidden            403  an S3 location outside the allowed buckets
├── NotAcceptable        406  no such response type
├── PayloadTooLarge      413  too many bytes, or too many images in one request
├── UnsupportedMediaType 415  no such request type
├── UndecodableImage     422  the bytes are no image this system takes
└── Unavailable          503  the model cannot answer now

Served alike by the endpoint and by the Lambda function. A message names neither a path
nor a stack; what is not foreseen here is a 500 that carries the request id alone.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from shared.component.errors import StorageError, VisionloopError
from shared.vision.errors import ImageError
from shared.vision.images import check_size

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/x-image")
JSON_TYPE, JSON_LINES_TYPE, ARRAY_TYPE = (
    "application/json",
    "application/jsonlines",
    "application/x-npy",
)
CONTENT_TYPES = (*IMAGE_TYPES, ARRAY_TYPE, JSON_TYPE)
MAX_IMAGES = 256  # in one request: a tenth of a second of forward, not a queue of its own
_NPY_HEADER_BYTES = 4096  # numpy parses the header as Python literals; a real one has 128
# Version 3 differs in names of fields, which pixels have none of.
_NPY_HEADERS: dict[tuple[int, int], Any] = {  # numpy types them only from 2.0 on
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# The header is a Python literal, so a wrong one fails in as many ways as Python's parser.
_DAMAGED_ARRAY = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    OSError,
    SyntaxError,
    RecursionError,
    MemoryError,
    OverflowError,
    tokenize.TokenError,
)
Picture = bytes | Image.Image  # encoded, or pixels as they came in an array


class RequestError(VisionloopError):
    """Root of what a client did wrong; `status` is the HTTP status."""

    status = 400


class BadRequest(RequestError):  # noqa: N818 - HTTP's own words
    """The body cannot be read as what it claims to be."""


class Forbidden(RequestError):  # noqa: N818
    """The location may not be read through this endpoint."""

    status = 403


class NotAcceptable(RequestError):  # noqa: N818
    """None of the response types asked for is offered."""

    status = 406


class PayloadTooLarge(RequestError):  # noqa: N818
    """More bytes or images than one request may carry."""

    status = 413


class UnsupportedMediaType(RequestError):  # noqa: N818
    """The content type is missing or not taken."""

    status = 415


class UndecodableImage(RequestError):  # noqa: N818
    """An image is damaged, animated, too large, or none."""

    status = 422


class Unavailable(RequestError):  # noqa: N818
    """The model cannot answer now; try again."""

    status = 503


@dataclass(frozen=True)
class S3Images:
    """Where `s3_uri` may point.

    buckets: allowed bucket names; empty: `s3_uri` is refused.
    read: returns the bytes of an s3:// object of at most `max_bytes`.
    """

    buckets: tuple[str, ...]
    read: Callable[[str, int], bytes]
    max_bytes: int = 20_000_000

    def fetch(self, uri: str) -> bytes:
        """Return the object's bytes.

        Raises:
            Forbidden: the bucket is not allowed.
            UndecodableImage: nothing can be read there.
        """
        try:
            parts = urlsplit(uri)
        except ValueError as err:
            raise BadRequest("s3_uri: give s3://bucket/key") from err
        if parts.scheme != "s3" or not parts.path.strip("/"):
            raise BadRequest("s3_uri: give s3://bucket/key")
        if parts.netloc not in self.buckets or ".." in parts.path.split("/"):
            raise Forbidden(f"s3_uri: bucket '{parts.netloc}' is not among those allowed here")
        try:
            return self.read(uri, self.max_bytes)
        except StorageError as err:
            raise UndecodableImage(f"s3_uri: cannot read {uri}; check the key") from err


def read_images(body: bytes, content_type: str, s3: S3Images | None = None) -> list[Picture]:
    """Return the images of a request, at least one.

    Raises:
        RequestError: the body is not what the content type says, or not taken.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        named = f"'{kind}'" if kind else "missing"
        raise UnsupportedMediaType(f"content type {named}: send one of {', '.join(CONTENT_TYPES)}")
    if not body:
        raise BadRequest("the body is empty; send an image")
    if kind in IMAGE_TYPES:
        return [body]
    images = _read_array(body) if kind == ARRAY_TYPE else _read_json(body, s3)
    if not images:
        raise BadRequest("no image in the request; send at least one")
    if len(images) > MAX_IMAGES:
        raise PayloadTooLarge(f"{len(images)} images in one request; the most is {MAX_IMAGES}")
    return images


def _read_array(body: bytes) -> list[Picture]:
    """Look at the body through the array that its header describes; nothing is allocated."""
    stream = io.BytesIO(body)
    read_magic: Any = np.lib.format.read_magic
    try:
        read = _NPY_HEADERS[read_magic(stream)]
        shape, is_fortran, dtype = read(stream, max_header_size=_NPY_HEADER_BYTES)
    except _DAMAGED_ARRAY as err:
        raise BadRequest("the body is no plain .npy array (pickled objects are refused)") from err
    is_image = len(shape) in (3, 4) and shape[-1] == 3 and min(shape) > 0
    if dtype != np.uint8 or not is_image:
        raise BadRequest(
            "the array is no uint8 [height, width, 3] or [images, height, width, 3]: "
            f"{dtype} {list(shape)}"[:200]
        )
    start = stream.tell()
    if math.prod(shape) != len(body) - start:
        raise BadRequest("the array's header promises another number of bytes than follow it")
    pixels = np.frombuffer(body, np.uint8, offset=start)
    array = pixels.reshape(shape, order="F" if is_fortran else "C")
    if array.ndim == 3:  # one image: [H, W, 3]
        array = array[None]
    if len(array) > MAX_IMAGES:
        raise PayloadTooLarge(f"{len(array)} images in one request; the most is {MAX_IMAGES}")
    try:
        check_size(array.shape[2], array.shape[1])
    except ImageError as err:
        raise UndecodableImage(str(err)) from err
    return [Image.fromarray(pixels) for pixels in array]


def _read_json(body: bytes, s3: S3Images | None) -> list[Picture]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise BadRequest("the body is no JSON") from err
    instances = document.get("instances", [document]) if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise BadRequest(
            'send {"instances": [{"b64": "..."}]}, an instance being {"b64": ...} or '
            '{"s3_uri": "s3://bucket/key"}'
        )
    if len(instances) > MAX_IMAGES:
        raise PayloadTooLarge(f"{len(instances)} images in one request; the most is {MAX_IMAGES}")
    return [_read_instance(i, instance, s3) for i, instance in enumerate(instances)]


def _read_instance(number: int, instance: Any, s3: S3Images | None) -> bytes:
    if isinstance(instance, dict) and len(instance) == 1:
        match next(iter(instance.items())):
            case ("b64", str(text)):
                try:
                    return base64.b64decode(text, validate=True)
                except (binascii.Error, ValueError) as err:
                    raise BadRequest(f"instances[{number}]: b64 is no base64") from err
            case ("s3_uri", str(uri)):
                if s3 is None or not s3.buckets:
                    raise Forbidden(f"instances[{number}]: no bucket may be read here; send b64")
                return s3.fetch(uri)
    raise BadRequest(f'instances[{number}]: give {{"b64": "..."}} or {{"s3_uri": "s3://..."}}')


def choose_response_type(accept: str, offered: Sequence[str] = ()) -> str:
    """Return the offered type the client likes best; JSON where it does not care.

    Raises:
        NotAcceptable: it takes none of those offered.
    """
    offered = offered or (JSON_TYPE, JSON_LINES_TYPE, ARRAY_TYPE)
    wishes = []
    for wish in accept.split(",") if accept.strip() else ["*/*"]:
        kind, *parameters = (part.strip().lower() for part in wish.split(";"))
        wishes.append((_quality(parameters), kind))
    for quality, kind in sorted(wishes, key=lambda wish: -wish[0]):
        if quality <= 0:
            continue
        for candidate in offered:
            if kind in (candidate, "*/*", candidate.split("/")[0] + "/*"):
                return candidate
    raise NotAcceptable(f"accept one of {', '.join(offered)}")


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


@dataclass(frozen=True)
class Options:
    """What `X-Amzn-SageMaker-Custom-Attributes` asks for.

    top_k: only so many labels, the most probable first; 0: all, in the bundle's order.
    explain: add an occlusion map of what the top label rests on.
    record: False keeps the images out of drift, prediction log and review queue: for
        smoke tests, whose images are not the world's.
    """

    top_k: int = 0
    explain: bool = False
    record: bool = True

    @classmethod
    def parse(cls, text: str) -> Options:
        """Read `top-k=3;explain=true`; a comma separates as well.

        Raises:
            BadRequest: an option is unknown or impossible.
        """
        given: dict[str, Any] = {}
        for pair in filter(None, (part.strip() for part in text.replace(",", ";").split(";"))):
            name, _, value = (part.strip().lower() for part in pair.partition("="))
            if name == "top-k" and value.isascii() and value.isdigit() and 0 < int(value) < 10**6:
                given["top_k"] = int(value)
            elif name in ("explain", "record") and value in ("true", "false"):
                given[name] = value == "true"
            else:
                raise BadRequest(
                    "custom attributes: options are top-k=N, explain=true|false, record=true|false"
                )
        return cls(**given)
