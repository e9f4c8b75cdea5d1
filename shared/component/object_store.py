"""Whole objects by key, in a folder or on S3, with writes that notice another writer.

`open_store` chooses. The labelling component reads the review queue and the annotations
through it and writes labels and reports. (The endpoint's `sinks.py` only puts, and lives
where boto3 may be missing; data sets of many large files go through `storage.py`.)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from shared.component.errors import StorageError
from shared.component.files import atomic
from shared.component.quick_reads import QuickReads
from shared.component.storage import S3_ROOT_VARIABLE

CONNECTIONS = 32  # an object takes S3 20 ms and this machine one
_LOCK = ".object-store.lock"
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing; modified_s: seconds since the epoch; etag changes with it."""

    key: str
    etag: str
    modified_s: float
    size: int


class ObjectStore(Protocol):
    """Objects below one place; a key is a relative path with forward slashes.

    Every call raises StorageError when the place cannot be read or written. Readers see an
    object whole or not at all; calls may come from several threads.
    """

    uri: str

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what begins with `prefix`, in the order of keys."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes; None: there is none."""
        ...

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return bytes and ETag, for `put_match`; None: there is none."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Put an object, in place of one of the same key."""
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one; return whether it was put."""
        ...

    def put_match(self, key: str, data: bytes, etag: str) -> bool:
        """Replace the object that has this ETag; return whether it was replaced."""
        ...


class FolderStore:
    """A folder. Names that begin with a dot are no objects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = str(folder)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._explained(prefix):
            for key in sorted(self._keys(prefix)):
                try:
                    facts = (self.folder / key).stat()
                except FileNotFoundError:
                    continue  # removed since it was listed
                etag = f"{facts.st_ino}-{facts.st_mtime_ns}-{facts.st_size}"
                yield Entry(key, etag, facts.st_mtime, facts.st_size)

    def _keys(self, prefix: str) -> Iterator[str]:
        # Texts, not paths: a hundred thousand of those are ten times as large.
        folder = self.folder / prefix.rpartition("/")[0]
        for top, _, names in os.walk(folder, onerror=_unless_gone):
            below = os.path.relpath(top, self.folder).replace(os.sep, "/")
            base = "" if below == "." else f"{below}/"
            keys = (base + name for name in names if not name.startswith("."))
            yield from (key for key in keys if key.startswith(prefix))

    def get(self, key: str) -> bytes | None:
        with self._explained(key):
            try:
                return (self.folder / key).read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                return None

    def read(self, key: str) -> tuple[bytes, str] | None:
        data = self.get(key)
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def put(self, key: str, data: bytes) -> None:
        with self._explained(key), atomic(self.folder / key) as aside:
            aside.write_bytes(data)

    def put_new(self, key: str, data: bytes) -> bool:
        with self._locked(key):
            if (self.folder / key).exists():
                return False
            self.put(key, data)
            return True

    def put_match(self, key: str, data: bytes, etag: str) -> bool:
        with self._locked(key):
            found = self.read(key)
            if found is None or found[1] != etag:
                return False
            self.put(key, data)
            return True

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Let one writer at a time look and write; the system frees the lock of a dead one."""
        with self._explained(key):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise StorageError(
                f"store: no access to {self.folder / key}: {err.strerror}; check path and rights"
            ) from err


class S3Store:
    """A prefix of a bucket; `client` is boto3's for S3.

    quick: reads without boto3 where it can.
    """

    def __init__(
        self, client: Any, bucket: str, prefix: str, quick: QuickReads | None = None
    ) -> None:
        self._client = client
        self._quick = quick
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{self._prefix}".rstrip("/")

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._explained(prefix, "s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", []):
                    if not found["Key"].endswith("/"):  # a folder made by hand is no object
                        yield Entry(
                            found["Key"].removeprefix(self._prefix),
                            found["ETag"],
                            found["LastModified"].timestamp(),
                            found["Size"],
                        )

    def get(self, key: str) -> bytes | None:
        if self._quick is not None:
            with self._explained(key, "s3:GetObject"):
                data = self._quick(self._bucket, self._prefix + key)
            if data is not None:
                return data
        found = self.read(key)
        return None if found is None else found[0]

    def read(self, key: str) -> tuple[bytes, str] | None:
        from botocore.exceptions import ClientError

        # Without s3:ListBucket S3 answers 403 for what is not there, too.
        with self._explained(key, "s3:GetObject and s3:ListBucket"):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as err:
                if err.response["Error"]["Code"] in _ABSENT:
                    return None
                raise
            return found["Body"].read(), found["ETag"]

    def put(self, key: str, data: bytes) -> None:
        self._put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        return self._put(key, data, IfNoneMatch="*")

    def put_match(self, key: str, data: bytes, etag: str) -> bool:
        return self._put(key, data, IfMatch=etag)

    def _put(self, key: str, data: bytes, **condition: str) -> bool:
        from botocore.exceptions import ClientError

        with self._explained(key, "s3:PutObject"):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition
                )
            except ClientError as err:
                # IfMatch answers 404 when the object has gone.
                lost = _TAKEN + (_ABSENT if "IfMatch" in condition else ())
                if condition and err.response["Error"]["Code"] in lost:
                    return False
                raise
        return True

    @contextmanager
    def _explained(self, key: str, permission: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError) as err:
            raise StorageError(
                f"store: no access to s3://{self._bucket}/{self._prefix}{key}: {err}; check the "
                f"bucket and give the role {permission}"
            ) from err


def open_store(uri: str, client: Any = None) -> ObjectStore:
    """Return the store a URI names: a path, file:// or s3://bucket/prefix.

    client: boto3's for S3; default: one of its own, for many reads at once. With
        VISIONLOOP_S3_ROOT set the folder it names stands for S3; boto3 honours
        AWS_ENDPOINT_URL.

    Raises:
        StorageError: the scheme is another, or there is no place named.
    """
    parts = urlsplit(uri)
    if uri and "://" not in uri:
        return FolderStore(Path(uri).expanduser())
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme != "s3" or not parts.netloc:
        raise StorageError(f"store: '{uri}' is no place; use s3://bucket/prefix, file:// or a path")
    if root := os.environ.get(S3_ROOT_VARIABLE):
        return FolderStore(Path(root, parts.netloc, parts.path.lstrip("/")))
    if client is not None:
        return S3Store(client, parts.netloc, parts.path)
    own = _s3_client()
    return S3Store(own, parts.netloc, parts.path, QuickReads(own, CONNECTIONS))


def _unless_gone(err: OSError) -> None:
    """Raise what `os.walk` passes over: what cannot be listed must not look deleted."""
    if not isinstance(err, FileNotFoundError):
        raise err


def _s3_client() -> Any:
    import boto3  # half a second, and only S3 needs it
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=20,
        retries={"total_max_attempts": 4, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        signature_version="s3v4",
    )
    return boto3.client("s3", config=config)
