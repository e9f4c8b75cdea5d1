"""Fetch the images that annotations and labels name, each once; what is missing is said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.session import get_session

from components.fetch_data.errors import AwayError
from components.fetch_data.image_folders import link_or_copy
from shared.component import storage
from shared.component.errors import StorageError
from shared.component.files import atomic, sha256_of
from shared.component.progress import track

_FAILS, _TOO_MANY = 500, 429  # HTTP's; S3 says 503 for "slow down"
_FETCHERS = 16  # image downloads wait for the network, not for a core


@dataclass(frozen=True)
class Wanted:
    """An image to fetch. name: of its file, without extension. sha256: "" is not checked."""

    name: str
    uri: str
    sha256: str = ""


def fetch_images(
    wanted: Sequence[Wanted], base: Path, scratch: Path, folder: Path, max_bytes: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files by URI, relative to `folder`, and why others are missing.

    base: folder that relative locations start from.

    Raises:
        AwayError: S3 fails meanwhile; what it holds must not look missing.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)

    download = _Download(scratch, max_bytes)

    def fetch(image: Wanted) -> str:
        location = image.uri if "://" in image.uri else str(base / image.uri)
        path = download(location, image.name)
        if not path.is_file():
            raise StorageError("a folder, not an image")
        if image.sha256 and (found := sha256_of(path)) != image.sha256:
            raise StorageError(f"not the image that was labelled: its sha256 is {found}")
        suffix = PurePosixPath(urlsplit(image.uri).path).suffix.lower()
        link_or_copy(path, images / f"{image.name}{suffix}")
        return f"images/{image.name}{suffix}"

    def outcome(image: Wanted) -> tuple[str, str, str]:
        try:
            return image.uri, fetch(image), ""
        except AwayError:
            raise
        except (StorageError, OSError) as err:
            return image.uri, "", str(err)

    files, missing = {}, {}
    ordered = sorted(wanted, key=lambda image: image.uri)
    with ThreadPoolExecutor(_FETCHERS) as pool:
        for uri, file, problem in track(
            pool.map(outcome, ordered), len(ordered), "images", "labels"
        ):
            if problem:
                missing[storage.redacted(uri)] = problem
            else:
                files[uri] = file
    return files, missing


class _Download:
    """Bring one image after another here.

    `storage.download` lists a prefix and opens a session for each URI, a third of a second;
    for single objects one client does, as for all of them.
    """

    def __init__(self, scratch: Path, max_bytes: int) -> None:
        self._scratch = scratch
        self._max_bytes = max_bytes
        self._client: Any = None
        self._lock = Lock()

    def __call__(self, location: str, name: str) -> Path:
        """Return the image's path; name: of a folder for it."""
        folder = self._scratch / name
        parts = urlsplit(location)
        if parts.scheme != "s3" or storage.local_path(location) is not None:
            return storage.download(location, folder, max_bytes=self._max_bytes)
        target = folder / PurePosixPath(parts.path).name
        try:
            found = self._s3().get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            if (size := found["ContentLength"]) > self._max_bytes:
                raise StorageError(
                    f"storage: {location} has {size / 1e9:.3f} GB, the limit is "
                    f"{self._max_bytes / 1e9:.3f} GB; raise max_download_gb if that is meant"
                )
            with atomic(target) as aside, aside.open("wb") as sink:
                shutil.copyfileobj(found["Body"], sink)
        except (BotoCoreError, ClientError) as err:
            if _is_away(err):
                raise AwayError(
                    f"fetch_data: S3 fails at {location}: {err}; run it again when S3 is there"
                ) from err
            raise StorageError(
                f"storage: cannot read {location}: {err}; check the location and give the role "
                "s3:GetObject"
            ) from err
        return target

    def _s3(self) -> Any:
        with self._lock:  # a session makes one client at a time
            if self._client is None:
                config = Config(
                    connect_timeout=10,
                    max_pool_connections=_FETCHERS,
                    retries={"total_max_attempts": 4, "mode": "standard"},
                )
                self._client = get_session().create_client("s3", config=config)
        return self._client


def _is_away(err: BotoCoreError | ClientError) -> bool:
    """Tell a place that fails from one that refuses an image or has none."""
    if isinstance(err, ClientError):
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status >= _FAILS or status == _TOO_MANY
    return isinstance(err, (ConnectionError, HTTPClientError, IncompleteReadError))
