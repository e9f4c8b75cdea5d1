"""What lies in the data bucket now: complete raw data sets and annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.retrain.state import Item

RAW = "raw/"
ANNOTATIONS = "annotations/"
_MARKER = "/_SUCCESS"
_READERS = 16  # reads wait for the network, not for a core
# A read takes 1.7 ms of a core, and the function has 0.6 of one and 120 s.
_MOST_READ = 5000


@dataclass(frozen=True)
class Lake:
    """sets: name of each complete raw set and when its _SUCCESS was written, ISO 8601.

    newest_s: when the newest annotation was written, in seconds since the epoch; 0 for none.
    """

    sets: Mapping[str, str]
    annotations: Mapping[str, Item]
    newest_s: float


def read_lake(
    client: Any, bucket: str, known: Mapping[str, Item], most_read: int = _MOST_READ
) -> Lake:
    """List the bucket; only annotations whose ETag is not known are read.

    known: annotations as seen before, by key.
    most_read: what is unknown beyond so many is told by its ETag alone. It may count as
        changed once more when it is written again unchanged; a look that never came to its
        end would start nothing at all.
    """
    newest = 0.0
    annotations: dict[str, Item] = {}
    unread: list[str] = []
    for entry in _objects(client, bucket, ANNOTATIONS):
        key, etag = entry["Key"], entry["ETag"]
        newest = max(newest, _seconds(entry["LastModified"]))
        seen = known.get(key)
        if seen is not None and seen.etag == etag:
            annotations[key] = seen
            continue
        annotations[key] = Item(etag, f"etag {etag}")
        if len(unread) < most_read:
            unread.append(key)

    def read(key: str) -> tuple[str, Item]:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return key, Item(annotations[key].etag, hashlib.sha256(body).hexdigest())

    with ThreadPoolExecutor(_READERS) as readers:
        annotations |= dict(readers.map(read, unread))
    return Lake(dict(_complete_sets(client, bucket)), annotations, newest)


def _complete_sets(client: Any, bucket: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each set; an upload in progress has no marker yet."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=RAW, Delimiter="/"
    )
    for page in pages:
        for prefix in page.get("CommonPrefixes", []):
            folder = prefix["Prefix"].rstrip("/")
            found = client.list_objects_v2(Bucket=bucket, Prefix=folder + _MARKER, MaxKeys=1)
            for entry in found.get("Contents", []):
                if entry["Key"] == folder + _MARKER:
                    moment: datetime = entry["LastModified"]
                    yield folder.removeprefix(RAW), moment.isoformat()


def _objects(client: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if not entry["Key"].endswith("/"):  # a folder made by hand is no annotation
                yield entry


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
