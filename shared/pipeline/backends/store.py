"""S3 as folders on disk: `s3://bucket/key` is `<home>/s3/bucket/key`."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from shared.pipeline.errors import DefinitionError


@dataclass(frozen=True)
class Store:
    """The local stand-in for S3; `root` holds a folder per bucket."""

    root: Path

    def path(self, uri: str) -> Path:
        """Return where an S3 URI is on disk.

        Raises:
            DefinitionError: it is no S3 URI, or it leaves the store.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket or ".." in uri.split("/"):
            raise DefinitionError(f"local: not an S3 location: {uri!r}; give s3://bucket/key")
        return self.root / bucket / key.rstrip("/")

    def uri(self, path: Path) -> str:
        return f"s3://{path.relative_to(self.root)}"

    def publish(self, folder: Path, uri: str) -> Path:
        """Move a finished file or folder to its URI; readers see all of it or none."""
        target = self.path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        if target.exists():
            target.rename(old)
        folder.rename(target)
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
        return target
