"""Put metric lines on stdout, where CloudWatch reads them, and into files of our own.

The files are `<time>-<random>.jsonl`, each at most a mebibyte, the newest kept; other
parts of the system read them where there is no CloudWatch. Neither way ever raises or
waits: what could not be written is counted.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import time
from collections.abc import Sequence
from pathlib import Path

_PART_BYTES = 1 << 20
_MOST_PARTS = 10
_STDOUT = 1


class Emitter:
    """Both ways out.

    folder: of the files, made when needed; descriptor: of stdout.
    lost: lines that neither way or only one of them has taken, counted once a way.
    """

    def __init__(self, folder: Path, descriptor: int = _STDOUT) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._part: Path | None = None
        self.lost = 0

    def emit(self, lines: Sequence[str]) -> None:
        """Write the lines, whole ones only."""
        for line in lines:
            if not self._to_stdout(f"{line}\n".encode()):
                self.lost += 1
        try:
            self._to_file("".join(f"{line}\n" for line in lines).encode())
        except OSError:
            self._part = None  # the next lines start a part of their own
            self.lost += len(lines)

    def _to_stdout(self, line: bytes) -> bool:
        """Write a line if that does not wait: a pipe nobody reads fills up."""
        poll = select.poll()
        try:
            poll.register(self._descriptor, select.POLLOUT)
            if not any(event & select.POLLOUT for _, event in poll.poll(0)):
                return False
            return os.write(self._descriptor, line) == len(line)
        except OSError:  # closed: EPIPE, EBADF
            return False

    def _to_file(self, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._part is None or self._part.stat().st_size + len(data) > _PART_BYTES:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            self._part = self._folder / f"{stamp}-{secrets.token_hex(4)}.jsonl"
            self._remove_oldest()
        with self._part.open("ab", buffering=0) as stream:
            before = stream.tell()
            if stream.write(data) != len(data):
                stream.truncate(before)  # readers find whole lines only
                raise OSError(errno.ENOSPC, "no space", str(self._part))

    def _remove_oldest(self) -> None:
        for part in sorted(self._folder.glob("*.jsonl"))[: -(_MOST_PARTS - 1)]:
            part.unlink(missing_ok=True)
