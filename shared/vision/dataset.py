"""The Dataset artifact: WebDataset tar shards per split, with random access.

    dataset.json         classes in order, counts, shards, fingerprints; written last
    train-00000.tar      images `<key>.<ext>` beside labels `<key>.cls` (WebDataset)
    train-00000.jsonl    one line an image: sha256, class, provenance, offset, size

The line's offset and size point at the image's bytes inside the tar, so a reader
jumps to any image without an index of its own: an epoch is a permutation of numbers,
exact on any number of workers and nodes. `preprocess` writes, everybody else reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.component.files import write_json
from shared.vision.errors import DatasetError

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test", "unlabelled")
NO_CLASS = -1  # the class index of an unlabelled image


@dataclass(frozen=True)
class Sample:
    """One image on its way into a shard.

    source: where it came from, a path relative to the raw data, or a URI.
    provenance: `raw`, `annotation` or `frozen`.
    class_name: None for an unlabelled image.
    """

    data: bytes
    extension: str
    class_name: str | None
    source: str
    provenance: str
    sha256: str
    annotator_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """dataset.json.

    counts: images per split and class name.
    shards: file names of the tars per split, in order.
    fingerprint: over (split, class, sha256) of every image, so it does not depend
        on how the images are packed.
    test_fingerprint: the same over the frozen test split alone.
    notes: figures of the preparation a person wants beside the data.
    """

    classes: list[str]
    counts: dict[str, dict[str, int]]
    shards: dict[str, list[str]]
    fingerprint: str
    test_fingerprint: str
    image_size: int = 0
    schema_version: int = SCHEMA_VERSION
    notes: dict[str, Any] = field(default_factory=dict)


def fingerprint(items: Iterable[tuple[str, str, str]]) -> str:
    """Return the identity of a set of (split, class name, image sha256)."""
    digest = hashlib.sha256()
    for item in sorted(items):
        digest.update("\t".join(item).encode() + b"\n")
    return digest.hexdigest()


def shard_name(split: str, index: int) -> str:
    """Return the file name of a split's shard, without its extension."""
    return f"{split}-{index:05d}"


def write_shard(folder: Path, name: str, samples: Iterable[Sample]) -> int:
    """Write `name.tar` and `name.jsonl` into `folder` and return the number of images.

    The bytes depend on the samples alone: no times, owners or permissions.
    """
    tar_path, index_path = folder / f"{name}.tar", folder / f"{name}.jsonl"
    count = 0
    with (
        tar_path.open("wb") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        index_path.open("w") as index,
    ):
        for count, sample in enumerate(samples, 1):
            key = f"{name}-{count - 1:06d}"
            _add(tar, f"{key}.{sample.extension}", sample.data)
            end = stream.tell()
            offset = end - _padded(len(sample.data))
            _add(tar, f"{key}.cls", (sample.class_name or "").encode())
            line = asdict(sample) | {"key": key, "offset": offset, "size": len(sample.data)}
            del line["data"]
            index.write(json.dumps(line, sort_keys=True) + "\n")
    return count


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json, which makes the folder a Dataset; call this last."""
    write_json(folder / "dataset.json", asdict(info))


@dataclass(frozen=True)
class Split:
    """Random access to one split's images.

    labels: int64 [n], index into the data set's classes, NO_CLASS when unlabelled.
    """

    name: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    _shards: tuple[Path, ...]
    _shard_of: npt.NDArray[np.int32]
    _offsets: npt.NDArray[np.int64]
    _sizes: npt.NDArray[np.int32]
    _descriptors: dict[tuple[int, int], int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        """Return the encoded image as it was stored.

        Raises:
            DatasetError: the shard is shorter than its index says.
        """
        shard, size = int(self._shard_of[index]), int(self._sizes[index])
        data = os.pread(self._descriptor(shard), size, int(self._offsets[index]))
        if len(data) != size:
            raise DatasetError(
                f"dataset: shard is truncated: {self._shards[shard]}; run preprocess again"
            )
        return data

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the index lines in order: sha256, source, provenance, ..."""
        for shard in self._shards:
            with shard.with_suffix(".jsonl").open() as lines:
                yield from map(json.loads, lines)

    def _descriptor(self, shard: int) -> int:
        """Open each shard once a process: forked workers share no file offset."""
        key = (os.getpid(), shard)
        if key not in self._descriptors:
            self._descriptors[key] = os.open(self._shards[shard], os.O_RDONLY)
        return self._descriptors[key]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptors": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class Dataset:
    """A Dataset folder, open for reading."""

    folder: Path
    info: DatasetInfo

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Read dataset.json.

        Raises:
            DatasetError: the folder holds no data set, or one of another schema.
        """
        path = folder / "dataset.json"
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError as err:
            raise DatasetError(
                f"dataset: no dataset.json in {folder}; give the output of preprocess"
            ) from err
        except ValueError as err:
            raise DatasetError(f"dataset: {path} is no JSON: {err}") from err
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DatasetError(
                f"dataset: {path} has schema version {version}, this code reads "
                f"{SCHEMA_VERSION}; run preprocess again"
            )
        return cls(folder, DatasetInfo(**document))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.info.classes)

    def split(self, name: str) -> Split:
        """Open one split; its memory grows by 24 bytes an image.

        Raises:
            DatasetError: the split has no images, or a shard is missing.
        """
        shards = tuple(self.folder / file for file in self.info.shards.get(name, []))
        if not shards:
            raise DatasetError(f"dataset: no '{name}' images in {self.folder}")
        class_index = {c: i for i, c in enumerate(self.classes)}
        columns = ([], [], [], [])  # type: tuple[list[int], list[int], list[int], list[int]]
        for number, shard in enumerate(shards):
            for line in _index_lines(shard):
                label = class_index.get(line["class_name"], NO_CLASS)
                row = (label, number, line["offset"], line["size"])
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
        return Split(
            name=name,
            classes=self.classes,
            labels=np.array(columns[0], dtype=np.int64),
            _shards=shards,
            _shard_of=np.array(columns[1], dtype=np.int32),
            _offsets=np.array(columns[2], dtype=np.int64),
            _sizes=np.array(columns[3], dtype=np.int32),
        )


def classes_in_turn(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Order image numbers so that the classes take turns, at random within each."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)
    for name in np.unique(labels):
        rows = shuffled[labels[shuffled] == name]
        turn[rows] = np.arange(len(rows))
    order = np.lexsort((labels[shuffled], turn[shuffled]))
    return np.asarray(shuffled[order])


def _index_lines(shard: Path) -> Iterator[dict[str, Any]]:
    try:
        if not shard.is_file():
            raise FileNotFoundError(shard)
        with shard.with_suffix(".jsonl").open() as lines:
            yield from map(json.loads, lines)
    except FileNotFoundError as err:
        raise DatasetError(
            f"dataset: {err.filename or shard} is missing; run preprocess again"
        ) from err


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
