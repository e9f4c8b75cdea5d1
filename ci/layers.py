"""Look for secrets in every layer of an image: what a later layer deletes is still there.

Reads the archive that `docker save` writes. A layer holds what one instruction added, so a
.env that was copied and removed again is found in the layer of the COPY.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

# Files that hold credentials, or a history that may hold them.
_NAMES = re.compile(
    r"(^|/)(\.env(\.[^/]*)?|\.git|\.netrc|\.pypirc|\.npmrc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
    r"|\.aws/credentials|\.docker/config\.json|\.config/gcloud/[^/]+|kaggle\.json)(/|$)"
)
# What it is: words of which one must be there, which is quick to see, and the pattern.
_TEXTS: dict[str, tuple[tuple[bytes, ...], re.Pattern[bytes]]] = {
    "an AWS access key": (
        (b"AKIA", b"ASIA"),
        re.compile(rb"(?<![A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    ),
    "an AWS secret key": (
        (b"aws_secret_access_key",),
        re.compile(rb"aws_secret_access_key\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}\b"),
    ),
    "a private key": (
        (b"PRIVATE KEY-----",),
        re.compile(rb"-----BEGIN (\w+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{60}"),
    ),
    "a token of GitHub": (
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(rb"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60})"),
    ),
    "a token of Hugging Face": ((b"hf_",), re.compile(rb"\bhf_[A-Za-z0-9]{34}\b")),
    "a password in an index's address": (
        (b"index-url", b"INDEX_URL", b"find-links", b"FIND_LINKS"),
        re.compile(
            rb"(index-url|INDEX_URL|find-links|FIND_LINKS)\s*[=:]?\s*"
            rb"https?://[^/\s:@]+:[^/\s@]+@"
        ),
    ),
}
# Amazon's own examples, which documentation in packages repeats.
_EXAMPLES = re.compile(rb"EXAMPLE|([A-Z0-9])\1{7}")
# Keys and tokens that packages publish for their own tests; everybody has them.
_PUBLISHED = re.compile(r"/site-packages/future/backports/test/")
_LARGEST = 32 << 20  # bytes; weights and libraries are no place where people put keys


@dataclass(frozen=True)
class Secret:
    """A secret, or what looks like one; `layer` counts from the base image's first."""

    layer: int
    path: str
    what: str

    def __str__(self) -> str:
        return f"layer {self.layer}: {self.path}: {self.what}"


def secrets_in(archive: Path, below: int = 0) -> Iterator[Secret]:
    """Yield what must not be in an image, layer by layer, and in its settings and history.

    archive: what `docker save` writes.
    below: layers of the base image, which are somebody else's and are left out.
    """
    with tarfile.open(archive) as image:
        manifest = json.load(_member(image, "manifest.json"))[0]
        settings = _member(image, manifest["Config"]).read()
        for what in _named_in(settings):
            yield Secret(-1, "image settings and history", what)
        for number, name in enumerate(manifest["Layers"]):
            if number >= below:
                yield from _in_layer(_member(image, name), number)


def layer_count(image: dict[str, Any]) -> int:
    """Return how many layers an image has, of what `docker image inspect` says."""
    return len(image["RootFS"]["Layers"])


def _in_layer(stream: IO[bytes], number: int) -> Iterator[Secret]:
    with tarfile.open(fileobj=stream) as layer:
        for entry in layer:
            path = str(PurePosixPath("/") / entry.name)
            if _NAMES.search(path):
                yield Secret(number, path, "a file that holds credentials")
            is_read = entry.isfile() and entry.size <= _LARGEST and not _PUBLISHED.search(path)
            if is_read and (file := layer.extractfile(entry)):
                for what in _named_in(file.read()):
                    yield Secret(number, path, what)


def _named_in(data: bytes) -> Iterator[str]:
    for what, (words, pattern) in _TEXTS.items():
        if any(word in data for word in words) and any(
            not _EXAMPLES.search(found[0]) for found in pattern.finditer(data)
        ):
            yield what


def _member(image: tarfile.TarFile, name: str) -> IO[bytes]:
    found = image.extractfile(name)
    if found is None:
        raise ValueError(f"{image.name!r}: {name} is no file; is this what docker save wrote?")
    return found
