"""Bring one source to a local folder: any URI, archives unpacked.

s3://bucket/prefix   https://host/images.zip   kaggle://owner/dataset/versions/2
file:///data         a folder or an archive    sample://scenes?images=600
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.fetch_data.archives import is_archive, unpack
from components.fetch_data.errors import ArchiveError
from components.fetch_data.sample import SampleRequest, write_sample
from shared.component import storage
from shared.component.errors import StorageError, UsageError
from shared.component.files import sha256_of

log = logging.getLogger(__name__)
KaggleDownload = Callable[[str], str]  # handle -> folder, as kagglehub.dataset_download
_KAGGLE_HANDLE = re.compile(r"[\w.-]+/[\w.-]+(/versions/\d+)?")


@dataclass(frozen=True)
class Source:
    """A source on this machine; archive_sha256 is "" where it was no archive."""

    uri: str
    folder: Path
    archive_sha256: str = ""


def fetch(
    uri: str,
    scratch: Path,
    max_bytes: int,
    checksum: str = "",
    kaggle_download: KaggleDownload | None = None,
) -> Source:
    """Return the folder of images that `uri` names, fetched and unpacked into `scratch`.

    checksum: expected sha256 of the archive, in hexadecimal; "" is not checked.
    kaggle_download: how to fetch from Kaggle; default: kagglehub.

    Raises:
        StorageError: nothing is there, it may not be read, or it is too large.
        ArchiveError: the archive is damaged, unsafe or another than expected.
        UsageError: the URI is none of the known kinds.
    """
    shown = storage.redacted(uri)
    log.info("fetching %s", shown)
    if uri.startswith("sample://"):
        path = write_sample(SampleRequest.parse(uri), scratch / "sample")
    elif uri.startswith("kaggle://"):
        path = _from_kaggle(uri, max_bytes, kaggle_download)
    else:
        path = storage.download(uri, scratch / "download", max_bytes=max_bytes)
    if path.is_dir():
        archives = [p for p in path.iterdir() if not p.name.startswith(".")]
        if len(archives) != 1 or not is_archive(archives[0]):
            return Source(shown, path)
        path = archives[0]  # a prefix or folder that holds one archive and nothing else
    digest = sha256_of(path)
    if checksum and digest != checksum.lower().removeprefix("sha256:"):
        raise ArchiveError(
            f"fetch_data: {shown} has sha256 {digest}, not {checksum}; "
            "the file changed or was damaged: fetch it anew or correct the checksum"
        )
    return Source(shown, unpack(path, scratch / "unpacked", max_bytes), digest)


def _from_kaggle(uri: str, max_bytes: int, download: KaggleDownload | None) -> Path:
    handle = uri.removeprefix("kaggle://").rstrip("/")
    if not _KAGGLE_HANDLE.fullmatch(handle):
        raise UsageError(
            f"fetch_data: {uri} names no Kaggle data set; "
            "write kaggle://owner/dataset or kaggle://owner/dataset/versions/N"
        )
    if download is None:
        import kagglehub  # slow to import, rarely needed

        download = kagglehub.dataset_download
    try:
        folder = Path(download(handle))
    except OSError as err:  # kagglehub's own errors and those of requests are OSErrors
        raise StorageError(
            f"storage: cannot fetch {uri}: {err}; set KAGGLE_USERNAME and KAGGLE_KEY, "
            "check the name and the network"
        ) from err
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    if size > max_bytes:
        raise StorageError(
            f"storage: {uri} has {size / 1e9:.3f} GB, the limit is {max_bytes / 1e9:.3f} GB; "
            "raise max_download_gb if that is meant"
        )
    return folder
