"""Read single S3 objects while serving: small, with a limit, no listing.

`storage.download` fetches data sets through s3fs; a server that reads one image at a time
needs neither its cache nor its weight.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.component.errors import StorageError
from shared.component.storage import S3_ROOT_VARIABLE


def s3_client() -> Any:
    """Return boto3's client with short waits; it honours AWS_ENDPOINT_URL."""
    import boto3  # slow to import, and only some servers read objects
    from botocore.config import Config

    config = Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2})
    return boto3.client("s3", config=config)


class ObjectReader:
    """Call it with an s3:// URI and the most bytes to take.

    make_client: called once, at the first object that lies on S3.
    """

    def __init__(self, make_client: Callable[[], Any] = s3_client) -> None:
        self._make_client = make_client
        self._client: Any = None

    def __call__(self, uri: str, max_bytes: int) -> bytes:
        """Return the object's bytes.

        Raises:
            StorageError: nothing is there, it may not be read, or it is too large.
        """
        parts = urlsplit(uri)
        bucket, key = parts.netloc, parts.path.lstrip("/")
        if root := os.environ.get(S3_ROOT_VARIABLE):
            return _read_file(Path(root, bucket, key), uri, max_bytes)
        from botocore.exceptions import BotoCoreError, ClientError

        if self._client is None:
            self._client = self._make_client()
        try:
            found = self._client.get_object(Bucket=bucket, Key=key)
            _check_size(uri, int(found["ContentLength"]), max_bytes)
            data: bytes = found["Body"].read()
        except (BotoCoreError, ClientError) as err:
            raise StorageError(f"storage: cannot read {uri}: {err}; check key and role") from err
        return data


def _read_file(path: Path, uri: str, max_bytes: int) -> bytes:
    try:
        _check_size(uri, path.stat().st_size, max_bytes)
        return path.read_bytes()
    except OSError as err:
        raise StorageError(f"storage: cannot read {uri}: {err.strerror}; check the key") from err


def _check_size(uri: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise StorageError(f"storage: {uri} has {size} bytes, the most is {max_bytes}")
