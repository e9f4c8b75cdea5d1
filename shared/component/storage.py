"""Bring what a URI names onto this machine: S3 and https are fetched, paths stay put.

Callers: fetch_data (everything), preprocess (the frozen test set), train and
evaluate (weights, policies, the champion). S3 goes through s3fs and honours
AWS_ENDPOINT_URL. VISIONLOOP_S3_ROOT, set by the local backend, names a folder that
stands in for S3: `s3://bucket/key` is `$VISIONLOOP_S3_ROOT/bucket/key` where that exists.
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from shared.component.errors import StorageError
from shared.component.files import atomic
from shared.component.progress import track

S3_ROOT_VARIABLE = "VISIONLOOP_S3_ROOT"
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
_RETRY_WAITS_S = (0.0, 1.0)  # before the second and the third attempt
_S3_BATCH = 128  # objects a call asks for; s3fs fetches them concurrently
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(uri: str, folder: Path, *, max_bytes: int | None = None) -> Path:
    """Return the local file or folder that `uri` names, fetching it where needed.

    uri: a path, file://, s3:// (an object, or a prefix: everything below it) or
        https:// (a file). http:// is taken from this machine alone.
    folder: fetched files go below it, whole or not at all; a path stays where it is.
    max_bytes: refuse to fetch more.

    Raises:
        StorageError: nothing is there, it may not be read, or it does not fit.
    """
    if (path := local_path(uri)) is not None:
        if not path.exists():
            raise StorageError(f"storage: nothing at {path}; check the path")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with _explained(uri):
        if urlsplit(uri).scheme == "s3":
            return _download_s3(uri, folder, max_bytes)
        return _download_http(uri, folder, max_bytes)


def is_empty(uri: str) -> bool:
    """Tell whether nothing is at `uri`; an https address is taken to hold something.

    Raises:
        StorageError: the place may not be read.
    """
    if (path := local_path(uri)) is not None:
        return not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if urlsplit(uri).scheme != "s3":
        return False
    with _explained(uri):
        return not _s3_objects(_s3(), uri)


def local_path(uri: str) -> Path | None:
    """Return the path a URI stands for on this machine, None when it is elsewhere.

    Raises:
        StorageError: the scheme is none that is read.
    """
    parts = urlsplit(uri)
    if "://" not in uri:
        return Path(uri).expanduser()
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme == "s3":
        root = os.environ.get(S3_ROOT_VARIABLE)
        path = Path(root, parts.netloc, parts.path.lstrip("/")) if root else None
        return path if path and path.exists() else None
    if _is_web(uri):
        return None
    raise StorageError(
        f"storage: cannot read {redacted(uri)}: scheme '{parts.scheme}' is not taken; "
        "use s3://, https://, file:// or a path"
    )


def redacted(uri: str) -> str:
    """Return a web address without credentials and query, which may hold a signature."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _is_web(uri: str) -> bool:
    """Tell whether a download may go there: https, and http on this machine."""
    parts = urlsplit(uri)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


def _s3() -> Any:
    import s3fs  # a second to import, and only some locations need it

    return s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        config_kwargs={"connect_timeout": 10, "retries": {"max_attempts": 3}},
    )


def _s3_objects(fs: Any, uri: str) -> dict[str, int]:
    """Return the size of each object at `uri`, by its path below; "" is `uri` itself."""
    location = uri.removeprefix("s3://").strip("/")
    found: dict[str, dict[str, Any]] = fs.find(location, detail=True)
    below = {key.removeprefix(location).lstrip("/"): facts["size"] for key, facts in found.items()}
    # A console makes empty objects named `folder/` to show a folder.
    return {name: size for name, size in below.items() if not name.endswith("/")}


def _download_s3(uri: str, folder: Path, max_bytes: int | None) -> Path:
    fs = _s3()
    objects = _s3_objects(fs, uri)
    if not objects:
        raise FileNotFoundError(errno.ENOENT, "nothing there")
    total = sum(objects.values())
    _check_room(uri, total, folder, max_bytes)
    location = uri.removeprefix("s3://").strip("/")
    target = folder / location.rpartition("/")[2]
    if set(objects) == {""}:
        with atomic(target) as aside:
            fs.get_file(location, str(aside))
        return target
    for name in objects:
        if name.startswith("/") or ".." in name.split("/"):
            raise StorageError(f"storage: {uri} holds the unsafe key {name!r}; remove it")
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".s3-"))
    try:
        _get_batches(fs, location, sorted(name for name in objects if name), aside)
        aside.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _get_batches(fs: Any, location: str, names: list[str], target: Path) -> None:
    def fetched() -> Iterator[str]:
        for start in range(0, len(names), _S3_BATCH):
            batch = names[start : start + _S3_BATCH]
            for name in batch:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
            fs.get([f"{location}/{name}" for name in batch], [str(target / n) for n in batch])
            yield from batch

    for _ in track(fetched(), len(names), "objects", "download"):
        pass


def _download_http(uri: str, folder: Path, max_bytes: int | None) -> Path:
    target = folder / (unquote(urlsplit(uri).path).rpartition("/")[2] or "download")
    for wait_s in (*_RETRY_WAITS_S, None):
        try:
            with atomic(target) as aside, aside.open("wb") as sink:
                _stream(uri, sink, folder, max_bytes)
            return target
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as err:
            is_refusal = False
            if isinstance(err, urllib.error.HTTPError):
                err.close()
                is_refusal = err.code < 500  # an answer stands; other trouble may pass
            if wait_s is None or is_refusal:
                raise
            time.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to where a download may start."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not _is_web(newurl):
            fp.close()
            raise StorageError(
                f"storage: {redacted(req.full_url)} redirects to {redacted(newurl)}; "
                "give the https address of the file itself"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _stream(uri: str, sink: IO[bytes], folder: Path, max_bytes: int | None) -> None:
    opener = urllib.request.build_opener(_SafeRedirects)
    with opener.open(uri, timeout=_TIMEOUT_S) as response:
        size = int(response.headers.get("Content-Length") or 0)
        _check_room(uri, size, folder, max_bytes)
        done = 0

        def chunks() -> Iterator[bytes]:
            while chunk := response.read(_CHUNK_BYTES):
                yield chunk

        for chunk in track(chunks(), -(-size // _CHUNK_BYTES), "MiB", "download"):
            done += len(chunk)
            _check_room(uri, done, None, max_bytes)  # a server may announce no size, or a wrong one
            sink.write(chunk)
        if size and done != size:
            raise http.client.IncompleteRead(b"", size - done)


def _check_room(uri: str, size: int, folder: Path | None, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise StorageError(
            f"storage: {redacted(uri)} has {size / 1e9:.3f} GB, the limit is "
            f"{max_bytes / 1e9:.3f} GB; raise max_download_gb if that is meant"
        )
    if folder and size > (free := shutil.disk_usage(folder).free):
        raise StorageError(
            f"storage: no space for {redacted(uri)}: {size / 1e9:.1f} GB, {folder} has "
            f"{free / 1e9:.1f} GB free; free some space or mount a larger volume"
        )


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn the errors of three libraries into one line with a remedy."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    where = redacted(uri)
    try:
        yield
    except NoCredentialsError as err:
        raise StorageError(
            f"storage: no AWS credentials for {where}; set AWS_PROFILE or run `aws configure`"
        ) from err
    except FileNotFoundError as err:
        raise StorageError(f"storage: nothing at {where}; check the location") from err
    except PermissionError as err:
        raise StorageError(
            f"storage: not allowed to read {where}; give the role s3:ListBucket and s3:GetObject"
        ) from err
    except urllib.error.HTTPError as err:
        raise StorageError(
            f"storage: {where} answered {err.code} {err.reason}; check the address"
        ) from err
    except (OSError, http.client.HTTPException, BotoCoreError, ClientError) as err:
        if isinstance(err, OSError) and err.errno == errno.ENOSPC:
            raise  # the disk, not the place: the runtime explains it
        raise StorageError(
            f"storage: cannot read {where}: {getattr(err, 'reason', err)}; "
            "check the network and the location"
        ) from err
