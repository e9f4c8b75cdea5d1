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


@dataclass(frozen=True)
class Lake:
    """sets: name of each complete raw set and when its _SUCCESS was written, ISO 8601.

    newest_s: when the newest annotation was written, in seconds since the epoch; 0 for none.
    """

    sets: Mapping[str, str]
    annotations: Mapping[str, Item]
    newest_s: float


def read_lake(client: Any, bucket: str, known: Mapping[str, Item]) -> Lake:
    """List the bucket; only annotations whose ETag is not known are read.

    known: annotations as seen before, by key.
    """
    entries = list(_objects(client, bucket, ANNOTATIONS))
    newest = max((_seconds(entry["LastModified"]) for entry in entries), default=0.0)

    def item(entry: dict[str, Any]) -> tuple[str, Item]:
        key, etag = entry["Key"], entry["ETag"]
        if key in known and known[key].etag == etag:
            return key, known[key]
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return key, Item(etag, hashlib.sha256(body).hexdigest())

    with ThreadPoolExecutor(_READERS) as readers:
        annotations = dict(readers.map(item, entries))
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
