"""python -m ci fuzz: bytes nobody thought of, thrown at all that reads a client's bytes.

    python -m ci fuzz --seconds 120                 every target, so long each
    python -m ci fuzz --target decode --runs 5000   one target, so many inputs

atheris (libFuzzer) changes small valid inputs and keeps what reaches new code. Only the
documented errors may come out, within memory and time; an input that brings anything else
lies in .visionloop/fuzz, named for its target, and is thrown again with
`--target NAME --input FILE`. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ci.problems import REPOSITORY
from shared.component.errors import VisionloopError

Throw = Callable[[bytes], object]
MEMORY_MB = 1500  # an image of MAX_PIXELS takes half of it
INPUT_S = 10  # a worker has 30 for a batch
_LONGEST = {"decode": 8192, "payload": 8192}
_FOUND = REPOSITORY / ".visionloop" / "fuzz"


class FuzzError(VisionloopError):
    """An input was found that brings more than the documented errors, or none can be sought."""


def main(argv: Sequence[str]) -> int:
    """Fuzz; exit status 0 or 1."""
    arguments = _parse(argv)
    if importlib.util.find_spec("atheris") is None:
        raise FuzzError("fuzz: atheris is not installed; run: make setup")
    if arguments.child:
        _fuzz(arguments)  # ends the process
    names = [arguments.target] if arguments.target else list(TARGETS)
    failed = [name for name in names if _run(name, arguments) != 0]
    if failed:
        raise FuzzError(f"fuzz: {', '.join(failed)} failed; the inputs are in {_FOUND.name}/")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ci fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", choices=list(TARGETS), help="default: all, in turn")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--runs", type=int, default=-1, help="inputs of each target; -1: no limit")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer; 0: another each time")
    parser.add_argument("--input", type=Path, help="throw this file alone")
    parser.add_argument("--found", type=Path, default=_FOUND, help="folder of what is found")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _run(name: str, arguments: argparse.Namespace) -> int:
    """Fuzz one target in a process of its own, since libFuzzer ends it."""
    flags = ["--seconds", arguments.seconds, "--runs", arguments.runs, "--seed", arguments.seed]
    flags += ["--found", arguments.found]
    flags += ["--input", arguments.input] if arguments.input else []
    command = [sys.executable, "-m", "ci", "fuzz", "--child", "--target", name, *map(str, flags)]
    # Linux lets a child inherit its parent's largest memory, which libFuzzer would take for
    # its own; the shell's is small.
    fresh = ["sh", "-c", '"$@"; exit $?', "sh"]
    return subprocess.run([*fresh, *command], check=False, cwd=REPOSITORY).returncode


def _fuzz(arguments: argparse.Namespace) -> None:
    import atheris

    warnings.simplefilter("ignore")  # Pillow's, of what is odd in a file
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    throw, seeds = TARGETS[arguments.target](atheris.instrument_imports)
    arguments.found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            Path(folder, str(number)).write_bytes(seed)
        where = [str(arguments.input)] if arguments.input else [folder]
        flags = {
            "max_total_time": arguments.seconds,
            "runs": arguments.runs,
            "seed": arguments.seed,
            "max_len": _LONGEST.get(arguments.target, 2048),
            "rss_limit_mb": MEMORY_MB,
            "timeout": INPUT_S,
            "artifact_prefix": f"{arguments.found}{os.sep}{arguments.target}-",
            "print_final_stats": 1,
        }
        words = [f"-{name}={value}" for name, value in flags.items()]
        atheris.Setup([sys.argv[0], *words, *where], throw)
        atheris.Fuzz()


Instrument = Callable[..., AbstractContextManager[Any]]
Target = tuple[Throw, list[bytes]]


def _decode(instrument: Instrument) -> Target:
    with instrument(include=["PIL", "shared.vision.images", "shared.vision.transforms"]):
        images = importlib.import_module("shared.vision.images")
        transforms = importlib.import_module("shared.vision.transforms")
        from PIL import Image

        Image.init()
    errors = importlib.import_module("shared.vision.errors")
    spec = transforms.TransformSpec(32, 36)

    def throw(data: bytes) -> None:
        try:
            image, facts = images.decode_with_facts(data, at_least=72)
        except errors.ImageError:
            return
        facts.conversions()
        pixels = transforms.prepare_pixels(image, spec)
        if pixels.shape != (32, 32, 3) or pixels.dtype != "uint8":
            raise AssertionError(f"pixels are {pixels.dtype} {pixels.shape}")

    return throw, list(_images())


def _images() -> Iterator[bytes]:
    """Yield small valid images of every format and mode."""
    from PIL import Image

    ramp = Image.linear_gradient("L").resize((40, 40))
    coloured = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    exif: Any = Image.Exif()  # type: ignore[no-untyped-call]
    exif[0x0112] = 6
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (coloured, kind, {}) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
    ]
    made += [(ramp, kind, {}) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")]
    made += [
        (coloured.convert("CMYK"), "JPEG", {}),
        (coloured, "JPEG", {"progressive": True, "exif": exif}),
        (coloured, "MPO", {"save_all": True, "append_images": [ramp.convert("RGB")]}),
        (coloured.convert("RGBA"), "PNG", {}),
        (coloured.quantize(8), "PNG", {"transparency": 3}),
        (ramp.convert("I").convert("I;16"), "PNG", {}),
        (ramp.convert("F"), "TIFF", {}),
        (ramp.convert("1"), "TIFF", {"compression": "group4"}),
        (coloured, "TIFF", {"compression": "tiff_lzw"}),
        (coloured, "TIFF", {"compression": "jpeg"}),
        (coloured, "WEBP", {"lossless": True}),
        (coloured, "GIF", {"save_all": True, "append_images": [ramp]}),
    ]
    for image, kind, options in made:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        yield stream.getvalue()


def _payload(instrument: Instrument) -> Target:
    with instrument(include=["shared.vision.payload", "json", "numpy.lib.format"]):
        payload = importlib.import_module("shared.vision.payload")
    kinds = payload.CONTENT_TYPES

    def throw(data: bytes) -> None:
        s3 = payload.S3Images(("ours",), lambda *_: b"image")
        try:
            payload.read_images(data[1:], kinds[data[0] % len(kinds)] if data else "", s3)
        except payload.RequestError:
            return

    seeds = [b"\x00image"]
    for kind, bodies in ((payload.ARRAY_TYPE, _arrays()), (payload.JSON_TYPE, _documents())):
        seeds += [bytes([kinds.index(kind)]) + body for body in bodies]
    return throw, seeds


def _arrays() -> Iterator[bytes]:
    import numpy as np

    shapes: list[tuple[int, ...]] = [(4, 5, 3), (2, 4, 5, 3), (0, 4, 5, 3), ()]
    for shape in shapes:
        stream = io.BytesIO()
        np.save(stream, np.zeros(shape, np.uint8))
        yield stream.getvalue()


def _documents() -> Iterator[bytes]:
    instances: tuple[Any, ...] = (
        {"b64": "aW1hZ2U="},
        {"s3_uri": "s3://ours/a.jpg"},
        {"b64": 1},
        None,
        [],
    )
    for instance in instances:
        yield json.dumps({"instances": [instance, instance]}).encode()
        yield json.dumps(instance).encode()


def _options(instrument: Instrument) -> Target:
    with instrument(include=["shared.vision.payload"]):
        payload = importlib.import_module("shared.vision.payload")

    def throw(data: bytes) -> None:
        try:
            payload.Options.parse(data.decode("latin-1"))
        except payload.RequestError:
            return

    return throw, [b"top-k=3;explain=true", b"top-k=1, explain=false", b"", b"a=b"]


def _accept(instrument: Instrument) -> Target:
    with instrument(include=["shared.vision.payload"]):
        payload = importlib.import_module("shared.vision.payload")

    def throw(data: bytes) -> None:
        try:
            payload.choose_response_type(data.decode("latin-1"))
        except payload.RequestError:
            return

    return throw, [b"*/*", b"application/json;q=0.5, application/x-npy", b"text/*;q=nan", b""]


def _records(instrument: Instrument) -> Target:
    with instrument(include=["components.inference.records", "json"]):
        records = importlib.import_module("components.inference.records")
    image = records.ImageRecord("", "PNG", 4, 5, 6, "cat", 0.9, 0.1, "AACAPw==", "", "", "", ("a",))
    answer = records.AnswerRecord(1.0, "id", "v1", {"decode": 0.5}, [image])
    request = records.RequestRecord(1.0, "id", 200, "", 2.5, 6, "image/png")

    def throw(data: bytes) -> None:
        try:
            record = records.decode(data)
            if isinstance(record, records.AnswerRecord):
                for image in record.images:
                    records.probabilities_of(image)
        except records.RecordError:
            return

    return throw, [records.encode(answer, 3), records.encode(request, 0), b"[0,[]]"]


TARGETS: dict[str, Callable[[Instrument], Target]] = {
    "decode": _decode,
    "payload": _payload,
    "options": _options,
    "accept": _accept,
    "records": _records,
}
