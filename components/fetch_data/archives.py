"""Unpack zip and tar archives from strangers: whole and harmless, or not at all.

    folder = unpack(Path("images.zip"), Path("out"), max_bytes=20_000_000_000)

Refused, with the member's name: paths that leave the folder, links, devices,
encrypted members, names used twice or not in UTF-8, and sizes beyond the limit,
which are counted while unpacking because headers may lie.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from components.fetch_data.errors import ArchiveError

# Photographs hardly compress; deflate reaches 1032:1 on zeros. Small archives may
# compress better: a hundred megabytes harm nobody.
MAX_RATIO = 100
RATIO_FREE_BYTES = 100_000_000
MAX_MEMBERS = 5_000_000
_CHUNK_BYTES = 1 << 20
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # zipfile: a compression method it does not know
)


def is_archive(path: Path) -> bool:
    """Tell by content whether `path` is an archive `unpack` takes."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack(archive: Path, folder: Path, max_bytes: int) -> Path:
    """Unpack into the new folder `folder`, which appears when all members are there.

    max_bytes: the most the members may hold together.

    Raises:
        ArchiveError: damaged, unsafe, or too large; `folder` does not exist then.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
    try:
        unpacking = _Unpacking(archive, aside, max_bytes)
        if zipfile.is_zipfile(archive):
            _unpack_zip(unpacking)
        else:
            _unpack_tar(unpacking)
        aside.chmod(0o755)
        aside.replace(folder)
    except _DAMAGE as err:
        raise _damaged(archive, err) from err
    except OSError as err:
        if err.errno != errno.EINVAL:  # the disk's, or the permissions'
            raise
        raise _damaged(archive, err) from err  # it names places before its own beginning
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _damaged(archive: Path, err: Exception) -> ArchiveError:
    return ArchiveError(f"fetch_data: archive {archive.name} is damaged: {err}; fetch it again")


@dataclass
class _Unpacking:
    """What was written so far of one archive, and what it may still do."""

    archive: Path
    target: Path
    max_bytes: int
    written: int = 0
    seen: set[str] = field(default_factory=set)

    def refuse(self, member: str, reason: str) -> ArchiveError:
        """Return the error that names archive and member."""
        shown = member.encode("utf-8", "backslashreplace").decode()
        return ArchiveError(
            f"fetch_data: archive {self.archive.name}: member {shown!r} {reason}; "
            "nothing was unpacked"
        )

    def destination(self, member: str) -> Path:
        """Return where a member goes; the name has proved harmless then."""
        path = PurePosixPath(member.replace("\\", "/"))  # some Windows tools write backslashes
        if path.is_absolute() or (path.parts and path.parts[0].endswith(":")):
            raise self.refuse(member, "has an absolute path")
        if ".." in path.parts:
            raise self.refuse(member, "leaves the folder it is unpacked to")
        if any(ord(character) < 32 for character in member):
            raise self.refuse(member, "has a control character in its name")
        if str(path) in self.seen:
            raise self.refuse(member, "appears twice")
        self.seen.add(str(path))
        if len(self.seen) > MAX_MEMBERS:
            raise self.refuse(member, f"is one of more than {MAX_MEMBERS:,}")
        return self.target / path

    def write(self, member: str, source: IO[bytes]) -> None:
        """Unpack one member, counting its bytes while they come."""
        path = self.destination(member)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as sink:
                while chunk := source.read(_CHUNK_BYTES):
                    self.count(member, len(chunk))
                    sink.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as err:
            raise self.refuse(member, "is a file and a folder at once") from err

    def count(self, member: str, size: int) -> None:
        """Add to what was written, and stop at the limits."""
        self.written += size
        if self.written > self.max_bytes:
            limit = f"{self.max_bytes / 1e9:g} GB"
            raise self.refuse(member, f"goes beyond {limit}; raise max_download_gb if meant")
        ratio = self.written / max(1, self.archive.stat().st_size)
        if self.written > RATIO_FREE_BYTES and ratio > MAX_RATIO:
            raise self.refuse(member, f"expands more than {MAX_RATIO}-fold: a zip bomb")


def _unpack_zip(unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(unpacking.archive) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        names = [_zip_name(unpacking, member) for member in members]
        for member, name in zip(members, names, strict=True):
            mode = member.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise unpacking.refuse(name, "is a link or a device")
            if member.flag_bits & _ENCRYPTED_FLAG:
                raise unpacking.refuse(name, "is encrypted; unpack it yourself")
        for member, name in zip(members, names, strict=True):
            with archive.open(member) as source:
                unpacking.write(name, source)


def _zip_name(unpacking: _Unpacking, member: zipfile.ZipInfo) -> str:
    if member.flag_bits & _UTF8_FLAG or member.filename.isascii():
        return member.filename
    try:  # without the flag zipfile decodes as cp437; macOS writes UTF-8 all the same
        return member.filename.encode("cp437").decode()
    except UnicodeError as err:
        raise unpacking.refuse(member.filename, "has a name that is not UTF-8") from err


def _unpack_tar(unpacking: _Unpacking) -> None:
    try:
        archive = tarfile.open(  # noqa: SIM115 - entered below
            unpacking.archive, "r:*", encoding="utf-8", errors="surrogateescape"
        )
    except tarfile.ReadError as err:
        raise ArchiveError(
            f"fetch_data: {unpacking.archive.name} is no archive or a damaged one; "
            "give a zip, tar, tar.gz, tar.bz2 or tar.xz"
        ) from err
    with archive:
        for member in archive:
            if not _is_utf8(member.name):
                raise unpacking.refuse(member.name, "has a name that is not UTF-8")
            if member.isdir():
                continue
            source = archive.extractfile(member) if member.isreg() else None
            if source is None:
                raise unpacking.refuse(member.name, "is a link or a device")
            with source:
                unpacking.write(member.name, source)


def _is_utf8(name: str) -> bool:
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return False
    return True
