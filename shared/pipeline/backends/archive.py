"""model.tar.gz whose bytes depend on the files' content and names alone."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path) -> None:
    """Pack what is in `folder`, without times, owners or permissions."""
    with (
        archive.open("wb") as stream,
        # Models hardly compress; the lowest level is ten times faster than the default.
        gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0, compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(member, content)
