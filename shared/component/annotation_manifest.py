"""The annotation manifest: the labels that people gave, as one file that never changes.

Written by the labelling component's merge below `labels/`, and read by fetch_data (which
images to train on) and retrain (is there anything new?):

    labels/<fingerprint>.json   the manifest; its name is the sha256 of its bytes
    labels/current.json         which manifest counts; the request for a training run

A manifest holds no time: the same answers of people give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.component.errors import InputError

CURRENT = "current.json"
KIND = "annotation-manifest"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What people decided about one image.

    image: its URI. sha256: of its bytes, in hexadecimal.
    annotators, annotations: who is behind the label, and by which answers.
    decided_by: majority, single or adjudication.
    """

    sha256: str
    image: str
    label: str
    annotators: tuple[str, ...]
    annotations: tuple[str, ...]
    decided_by: str


@dataclass(frozen=True)
class Manifest:
    """source: where the annotations lie. rules: the parameters of the merge."""

    source: str
    rules: Mapping[str, Any]
    labels: Sequence[Label] = field(default=())

    def encode(self) -> bytes:
        """Return the file: an image a line, so that it may be compared by eye."""
        head = {"schema": _SCHEMA, "kind": KIND, "source": self.source, "rules": dict(self.rules)}
        lines = ",\n".join(
            _compact({name: getattr(label, name) for name in Label.__slots__})
            for label in sorted(self.labels, key=lambda label: label.sha256)
        )
        return f'{_compact(head)[:-1]},"labels":[\n{lines}\n]}}\n'.encode()


@dataclass(frozen=True)
class Current:
    """Which manifest counts; images: how many it holds."""

    fingerprint: str
    images: int

    @property
    def manifest(self) -> str:
        return manifest_name(self.fingerprint)

    def encode(self) -> bytes:
        document = {
            "schema": _SCHEMA,
            "fingerprint": self.fingerprint,
            "manifest": self.manifest,
            "images": self.images,
        }
        return json.dumps(document, indent=2).encode() + b"\n"


def manifest_name(fingerprint: str) -> str:
    return f"{fingerprint}.json"


def fingerprint(data: bytes) -> str:
    """Return the fingerprint of a manifest's bytes."""
    return hashlib.sha256(data).hexdigest()


def is_manifest(document: Any) -> bool:
    """Tell a manifest from the other JSON that may hold annotations."""
    return isinstance(document, dict) and document.get("kind") == KIND


def read_manifest(data: bytes, where: str) -> Manifest:
    """Read what `Manifest.encode` wrote.

    Raises:
        InputError: it is no manifest, or one of another schema; `where` is named.
    """
    try:
        body = json.loads(data)
        if not is_manifest(body) or body["schema"] != _SCHEMA:
            raise ValueError(f"no {KIND} of schema {_SCHEMA}")
        labels = tuple(_label(item) for item in body["labels"])
        return Manifest(str(body["source"]), dict(body["rules"]), labels)
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"labels: {where} is no annotation manifest: {err!r}; give one that "
            "`python -m components.labeling merge` wrote"
        ) from err


def read_current(data: bytes, where: str) -> Current:
    """Read what `Current.encode` wrote.

    Raises:
        InputError: it is something else; `where` is named.
    """
    try:
        body = json.loads(data)
        if body["schema"] != _SCHEMA:
            raise ValueError(f"schema is not {_SCHEMA}")
        current = Current(str(body["fingerprint"]), int(body["images"]))
        if body["manifest"] != current.manifest:
            raise ValueError("manifest and fingerprint differ")
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"labels: {where} is damaged: {err!r}; remove it, and the next merge writes it anew"
        ) from err
    return current


def _label(item: Mapping[str, Any]) -> Label:
    return Label(
        sha256=str(item["sha256"]),
        image=str(item["image"]),
        label=str(item["label"]),
        annotators=tuple(map(str, item["annotators"])),
        annotations=tuple(map(str, item["annotations"])),
        decided_by=str(item["decided_by"]),
    )


def _compact(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
