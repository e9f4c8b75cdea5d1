"""Upload of new data sets: files below raw/NAME/, `_SUCCESS` last, which starts a run on AWS.

A set is open until its `_SUCCESS` is there, and then never changes: what trains has to be
what was complete. Files may come in any order and again; those that are there are kept.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from components.web.errors import BadInput, Conflict, NotFound
from components.web.operator.asking import asking
from components.web.operator.records import Record
from shared.component.object_store import ObjectStore, S3Store, open_store

DATASET = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
MOST_BYTES = 6 << 20  # Lambda takes no larger request; a larger file goes to S3 itself
LARGEST_UPLOAD = 100 << 20  # of one image, straight to S3
# Of a request's 6 MB, base64 leaves so much; a page sends more than that to S3 itself.
DIRECT_BYTES = 4 << 20
_MARKER = "_SUCCESS"
_MOST_FILES = 50_000  # an answer has to stay below 6 MB, too
_LINK_S = 900
# A folder's or file's name: what all file systems and S3 take, and no path upwards.
_PART = re.compile(r"[\w][\w .()+,&'-]{0,99}")
_MOST_NAME_BYTES = 200
_DEEPEST = 5  # wrapping folder, split, class, ...; components/fetch_data finds its way
_IMAGES = {
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".webp": (b"RIFF",),
    ".bmp": (b"BM",),
    ".gif": (b"GIF8",),
    ".tif": (b"II*\0", b"MM\0*"),
    ".tiff": (b"II*\0", b"MM\0*"),
}


class File(Record):
    """path: below the set, as class/photo.jpg."""

    path: str
    size: int


class Dataset(Record):
    """A data set under way or complete.

    classes: images by folder. uploads: large files may go to S3 by POST .../uploads.
    """

    name: str
    is_complete: bool
    count: int
    classes: dict[str, int]
    files: tuple[File, ...] = ()
    uploads: bool = False
    most_bytes: int
    direct_bytes: int


class Upload(Record):
    """A form that S3 takes: send the fields, then the file as `file`, to url."""

    url: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Datasets:
    """raw: s3://bucket/raw or a folder; "": uploads are switched off. most_bytes: of a file."""

    raw: str
    s3: Any
    most_bytes: int = MOST_BYTES

    def get(self, name: str) -> Dataset:
        """Return a set with its files, empty where nothing was uploaded yet.

        Raises:
            WebError: a bad name, or the store is away.
        """
        with asking("data sets"):
            found = list(self._store(name).list())
        files = [File(path=e.key, size=e.size) for e in found if e.key != _MARKER]
        classes = Counter(file.path.rpartition("/")[0] for file in files)
        return Dataset(
            name=name,
            is_complete=len(found) > len(files),
            count=len(files),
            classes=dict(sorted(classes.items())),
            files=files[:_MOST_FILES],
            uploads=isinstance(self._store(name), S3Store),
            most_bytes=self.most_bytes,
            direct_bytes=min(self.most_bytes, DIRECT_BYTES),
        )

    def open(self, name: str) -> Dataset:
        """Return a set that may be uploaded to.

        Raises:
            WebError: it is complete, has a bad name, or the store is away.
        """
        dataset = self.get(name)
        if dataset.is_complete:
            raise _complete(name)
        return dataset

    def put(self, name: str, path: str, data: bytes) -> File:
        """Put one image.

        Raises:
            WebError: the set is complete, the path is odd, it is no image, or the store is
                away.
        """
        suffix = checked_path(path)
        if not data:
            raise BadInput(f"data set: {path} is empty")
        if not data.startswith(_IMAGES[suffix]):
            raise BadInput(f"data set: {path} is no {suffix[1:]} image; leave it out or rename it")
        with asking("data sets"):
            store = self._store(name)
            self._refuse_complete(store, name)
            store.put(path, data)
        return File(path=path, size=len(data))

    def upload(self, name: str, path: str) -> Upload:
        """Return a form for one image too large for a request.

        Raises:
            WebError: as `put`; and where there is no S3 to send it to.
        """
        checked_path(path)
        with asking("data sets"):
            store = self._store(name)
            if not isinstance(store, S3Store):
                raise Conflict("data set: here files go to POST .../files; there is no S3")
            self._refuse_complete(store, name)
            bucket, _, key = store.uri.removeprefix("s3://").partition("/")
            said = self.s3.generate_presigned_post(
                bucket,
                f"{key}/{path}",
                Conditions=[["content-length-range", 1, LARGEST_UPLOAD]],
                ExpiresIn=_LINK_S,
            )
        return Upload(url=said["url"], fields=said["fields"])

    def complete(self, name: str, files: int) -> Dataset:
        """Say that a set is whole; files: as many as the operator was shown.

        Raises:
            WebError: others are there than was shown, none is, or the store is away.
        """
        dataset = self.open(name)
        if not dataset.count:
            raise Conflict(f"data set: {name} holds no image; upload some first")
        if dataset.count != files:
            raise Conflict(
                f"data set: {name} holds {dataset.count} images, not {files}; look again"
            )
        with asking("data sets"):
            if not self._store(name).put_new(_MARKER, b""):
                raise _complete(name)
        return dataset.model_copy(update={"is_complete": True})

    def _store(self, name: str) -> ObjectStore:
        if not self.raw:
            raise NotFound("data set: uploads are switched off; start the pages with --raw")
        if not re.fullmatch(DATASET, name):
            raise BadInput(f"data set: '{name}' is no name; use up to 63 letters, digits, - and _")
        return open_store(f"{self.raw.rstrip('/')}/{name}", self.s3)

    def _refuse_complete(self, store: ObjectStore, name: str) -> None:
        if store.get(_MARKER) is not None:
            raise _complete(name)


def checked_path(path: str) -> str:
    """Return an image's suffix, in lower case.

    Raises:
        BadInput: the path leads elsewhere, has odd names or names no image in a class folder.
    """
    parts = path.split("/")
    if not 2 <= len(parts) <= _DEEPEST:
        raise BadInput(f"data set: '{path[:200]}' is no path; give class/photo.jpg")
    for part in parts:
        if not _is_name(part):
            raise BadInput(
                f"data set: '{part[:100]}' is no name for a file or folder; use letters, digits, "
                "spaces and . _ - ( ) + , & '"
            )
    stem, dot, suffix = parts[-1].rpartition(".")
    suffix = dot + suffix.lower()
    if not stem or suffix not in _IMAGES:
        raise BadInput(f"data set: '{parts[-1]}' is no image; take {', '.join(sorted(_IMAGES))}")
    return suffix


def _is_name(part: str) -> bool:
    """Tell whether every file system takes this name: bytes count there, not letters."""
    is_plain = bool(_PART.fullmatch(part)) and part == part.strip() and not part.endswith(".")
    return is_plain and len(part.encode()) <= _MOST_NAME_BYTES


def _complete(name: str) -> Conflict:
    return Conflict(f"data set: {name} is complete and never changes; give a new set another name")
