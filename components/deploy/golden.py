"""The golden images of a packed model, read from a stream: no disk, no NumPy.

The layout is shared/vision/golden.py's, which an image carries and this function does not;
a test holds both equal.
"""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from components.deploy.errors import SmokeTestError

# Engines agree to 1e-4 on one machine; another machine's vector units add their share.
TOLERANCE = 1e-3
_FOLDER = "golden/"
_INDEX = "golden/golden.json"
_MOST_BYTES = 64 << 20  # of all golden images, against an archive that never ends
_REMEDY = "register the model again"

NOT_RECORDED = "record=false"  # golden images are not what the world sends
# Takes an encoded image, returns the service's prediction: label, probabilities by class.
Ask = Callable[[bytes], dict[str, Any]]


@dataclass(frozen=True)
class Golden:
    """An encoded image and the answer it must get.

    probabilities: by class, in the model's order.
    """

    name: str
    data: bytes
    label: str
    probabilities: dict[str, float]


def read_golden(stream: IO[bytes], where: str) -> list[Golden]:
    """Return the golden images of a model.tar.gz.

    stream: is read as far as the images go, which lie before the model.
    Raises:
        SmokeTestError: there are none, or the archive is damaged.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if _is_golden(member, files, where) else None
                if content is not None:
                    files[member.name] = content.read()
                if files.keys() >= _wanted(files):
                    break
        return _join(files, where)
    except (tarfile.TarError, EOFError, OSError, KeyError, ValueError) as err:
        raise SmokeTestError(f"smoke test: cannot read {where}: {err!r}; {_REMEDY}") from err


def check_golden(images: list[Golden], ask: Ask) -> float:
    """Compare every answer with the expected one and return the largest difference.

    Raises:
        SmokeTestError: the first that differs: which image, what was expected, what came.
    """
    return max(_check(image, ask(image.data)) for image in images)


def instances_of(image: bytes) -> dict[str, Any]:
    """Return the request for one image, as components/inference has it."""
    return {"instances": [{"b64": base64.b64encode(image).decode()}]}


def prediction_in(body: bytes, who: str) -> dict[str, Any]:
    """Return the one prediction of a response.

    Raises:
        SmokeTestError: there is none.
    """
    try:
        (prediction,) = json.loads(body)["predictions"]
    except (ValueError, KeyError, TypeError) as err:
        raise SmokeTestError(
            f"smoke test: {who} answers otherwise than a model of ours: {body[:300]!r}; "
            "read its log"
        ) from err
    return dict(prediction)


def _is_golden(member: tarfile.TarInfo, files: dict[str, bytes], where: str) -> bool:
    if not (member.isreg() and member.name.startswith(_FOLDER)):
        return False
    if member.size + sum(map(len, files.values())) > _MOST_BYTES:
        raise SmokeTestError(
            f"smoke test: the golden images of {where} have more than {_MOST_BYTES} bytes; "
            "register the model with fewer"
        )
    return True


def _wanted(files: dict[str, bytes]) -> set[str]:
    """Return the names that are enough; before the index is read nothing is."""
    if _INDEX not in files:
        return {_INDEX}
    return {_FOLDER + entry["file"] for entry in json.loads(files[_INDEX])["images"]}


def _join(files: dict[str, bytes], where: str) -> list[Golden]:
    if _INDEX not in files:
        raise SmokeTestError(f"smoke test: no golden images in {where}; {_REMEDY}")
    document = json.loads(files[_INDEX])
    classes = document["classes"]
    images = [
        Golden(
            entry["file"],
            files[_FOLDER + entry["file"]],
            entry["label"],
            dict(zip(classes, entry["probabilities"], strict=True)),
        )
        for entry in document["images"]
    ]
    if not images:
        raise SmokeTestError(f"smoke test: no golden images in {where}; {_REMEDY}")
    return images


def _check(image: Golden, said: dict[str, Any]) -> float:
    given = said.get("probabilities") or {}
    if list(given) != list(image.probabilities):
        raise _wrong(image, f"classes {list(given)} instead of {list(image.probabilities)}")
    if not all(isinstance(value, (int, float)) for value in given.values()):
        raise _wrong(image, f"no numbers: {given}")
    differences = [abs(given[name] - p) for name, p in image.probabilities.items()]
    is_close = all(difference <= TOLERANCE for difference in differences)  # false for NaN
    if said.get("label") != image.label or not is_close:
        raise _wrong(image, f"'{said.get('label')}' {_rounded(given)} (at most {TOLERANCE:g} off)")
    return float(max(differences))


def _wrong(image: Golden, got: str) -> SmokeTestError:
    expected = f"'{image.label}' {_rounded(image.probabilities)}"
    return SmokeTestError(
        f"smoke test: golden image {image.name}: expected {expected}, got {got}; the model, its "
        "image or its settings are not what was registered"
    )


def _rounded(probabilities: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in probabilities.items())
