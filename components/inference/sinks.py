"""Where the collector puts what outlives it: a folder or S3, whole objects only.

`open_sink` chooses; `outbox.py` brings things there without holding the collector up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from shared.component.errors import StorageError
from shared.component.files import atomic
from shared.component.storage import S3_ROOT_VARIABLE


class Sink(Protocol):
    """Takes whole objects by key; a key is a relative path with forward slashes.

    Both calls raise StorageError or OSError when the object could not be put.
    """

    def put(self, key: str, data: bytes) -> None:
        """Put an object, in place of one of the same key."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether an object of this key is there."""
        ...


class FolderSink:
    """A folder: readers see a file whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        with atomic(self.folder / key) as aside:
            aside.write_bytes(data)

    def exists(self, key: str) -> bool:
        return (self.folder / key).exists()


class S3Sink:
    """A prefix of a bucket; `client` is boto3's for S3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/")

    def put(self, key: str, data: bytes) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._full(key), Body=data)
        except (BotoCoreError, ClientError) as err:
            raise self._explained(key, err, "s3:PutObject") from err

    def exists(self, key: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.head_object(Bucket=self._bucket, Key=self._full(key))
        except ClientError as err:
            if err.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            # Without s3:ListBucket S3 answers 403 for what is not there, too.
            raise self._explained(key, err, "s3:GetObject and s3:ListBucket") from err
        except BotoCoreError as err:
            raise self._explained(key, err, "s3:GetObject and s3:ListBucket") from err
        return True

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _explained(self, key: str, err: Exception, permission: str) -> StorageError:
        return StorageError(
            f"sink: no access to s3://{self._bucket}/{self._full(key)}: {err}; check the "
            f"bucket and give the role {permission}"
        )


class NoSink:
    """Takes objects and forgets them."""

    def put(self, key: str, data: bytes) -> None:
        """Forget the object."""

    def exists(self, key: str) -> bool:  # noqa: ARG002 - nothing is ever there
        return False


def open_sink(uri: str) -> Sink:
    """Return the sink a URI names: a path, file://, s3://bucket/prefix, "" for none.

    With VISIONLOOP_S3_ROOT set the folder it names stands for S3; boto3 honours
    AWS_ENDPOINT_URL.

    Raises:
        StorageError: the scheme is another.
    """
    if not uri:
        return NoSink()
    parts = urlsplit(uri)
    if "://" not in uri:
        return FolderSink(Path(uri).expanduser())
    if parts.scheme == "file":
        return FolderSink(Path(unquote(parts.path)))
    if parts.scheme != "s3" or not parts.netloc:
        raise StorageError(
            f"sink: cannot write to {uri}; use s3://bucket/prefix, file:// or a path"
        )
    if root := os.environ.get(S3_ROOT_VARIABLE):
        return FolderSink(Path(root, parts.netloc, parts.path.lstrip("/")))
    return S3Sink(_s3_client(), parts.netloc, parts.path)


def _s3_client() -> Any:
    import boto3  # half a second, and only S3 needs it
    from botocore.config import Config

    # The outbox tries again itself; here a dead network must end soon.
    config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
    return boto3.client("s3", config=config)
