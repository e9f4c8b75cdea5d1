"""Look at every image once: identity, near-identity, and whether it can be used.

Images are read one by one in worker processes; what stays in memory is a few hundred
bytes an image, never its pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from components.preprocess.parallel import map_on_cores
from shared.component.progress import track
from shared.vision.errors import ImageError
from shared.vision.images import ImageFacts, decode_rgb, inspect

MAX_ASPECT_RATIO = 8.0  # a strip: a crop to a square would show next to nothing of it
# imagehash scales to 32 pixels, so an eighth of a phone's photo tells as much.
_HASHED_SIDE = 256
_COLOUR_SIDE = 8
_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image's bytes are: a file, or `size` bytes of it from `offset` on."""

    path: str
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """Return the encoded image."""
        with Path(self.path).open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image before anybody looked at it.

    role: train, test, unlabelled, annotation or frozen.
    source: its path in the raw data, or its URI.
    """

    ref: ImageRef
    role: str
    class_name: str | None
    source: str


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """What one look told; an image with a `problem` cannot be used.

    phash: 64-bit perceptual hash.
    colours: the picture at 8 x 8 pixels, RGB.
    conversions: what decoding changes: CMYK, EXIF-rotated, ...
    width, height: pixels before EXIF rotation.
    """

    ref: ImageRef
    role: str
    class_name: str | None
    source: str
    sha256: str
    problem: str = ""
    detail: str = ""
    extension: str = ""
    width: int = 0
    height: int = 0
    phash: int = 0
    colours: bytes = b""
    conversions: tuple[str, ...] = ()


def scan(candidates: Sequence[Candidate], min_side: int) -> list[ScannedImage]:
    """Look at all candidates, on every core, and return them in order."""
    look = partial(look_at, min_side=min_side)
    scanned = map_on_cores(look, candidates, chunk=32)
    return list(track(scanned, len(candidates), "images", "check"))


def look_at(candidate: Candidate, min_side: int) -> ScannedImage:
    """Read, decode and describe one image; trouble with it becomes its `problem`."""
    data = candidate.ref.read()
    found = partial(
        ScannedImage,
        ref=candidate.ref,
        role=candidate.role,
        class_name=candidate.class_name,
        source=candidate.source,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    if not data:
        return found(problem="empty", detail="zero bytes")
    try:
        facts = inspect(data)
    except ImageError as err:
        return found(problem="unreadable", detail=str(err))
    found = partial(found, width=facts.width, height=facts.height)
    if problem := _unfit(facts, min_side):
        return found(problem=problem, detail=f"{facts.width} x {facts.height} pixels")
    try:
        image = decode_rgb(data, at_least=_HASHED_SIDE)
    except ImageError as err:
        return found(problem="damaged", detail=str(err))
    return found(
        extension=_EXTENSIONS.get(facts.format, facts.format.lower()),
        phash=_perceptual_hash(image),
        colours=image.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX).tobytes(),
        conversions=tuple(facts.conversions()),
    )


def _unfit(facts: ImageFacts, min_side: int) -> str:
    """Return what is wrong with an image that decodes, "" for nothing."""
    shorter, longer = sorted((facts.width, facts.height))
    if facts.is_animated:
        return "animated"
    if shorter < min_side:
        return "tiny"
    return "extreme shape" if longer > MAX_ASPECT_RATIO * shorter else ""


def _perceptual_hash(image: Image.Image) -> int:
    bits = np.packbits(imagehash.phash(image).hash.ravel())
    return int.from_bytes(bits.tobytes(), "big")
