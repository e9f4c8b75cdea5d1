"""What lies in the data bucket now: complete raw data sets and the labels people gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.retrain.state import Snapshot
from shared.component.annotation_manifest import CURRENT, read_current, read_manifest
from shared.component.errors import StorageError

RAW = "raw/"
LABELS = "labels/"
_MARKER = "/_SUCCESS"


@dataclass(frozen=True)
class Lake:
    """sets: name of each complete raw set and when its _SUCCESS was written, ISO 8601.

    labels: by the image's sha256; manifest: the file below labels/ that holds them, "" for
        none. changed_s: when another manifest came to count, in seconds since the epoch.
    """

    sets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    changed_s: float = 0.0


def read_lake(client: Any, bucket: str, *known: Snapshot) -> Lake:
    """List the raw sets and read the labels, unless their manifest is known.

    known: manifests never change, so that one seen before need not be read again.

    Raises:
        StorageError: the manifest that counts is not there, or nothing says which counts
            though labels were trained on: a run without them would forget what people said.
        InputError: it is no manifest.
    """
    sets = dict(_complete_sets(client, bucket))
    try:
        found = client.get_object(Bucket=bucket, Key=LABELS + CURRENT)
    except client.exceptions.NoSuchKey as err:
        if not any(snapshot.manifest for snapshot in known):
            return Lake(sets)
        raise StorageError(
            f"retrain: s3://{bucket}/{LABELS}{CURRENT} is gone, though runs had labels; run "
            "`python -m components.labeling merge`, which writes it anew"
        ) from err
    modified: datetime = found["LastModified"]
    name = read_current(found["Body"].read(), f"s3://{bucket}/{LABELS}{CURRENT}").manifest
    labels = next((snapshot.labels for snapshot in known if snapshot.manifest == name), None)
    if labels is None:
        labels = _read_labels(client, bucket, name)
    return Lake(sets, labels, name, modified.timestamp())


def _read_labels(client: Any, bucket: str, name: str) -> dict[str, str]:
    where = f"s3://{bucket}/{LABELS}{name}"
    try:
        data = client.get_object(Bucket=bucket, Key=LABELS + name)["Body"].read()
    except client.exceptions.NoSuchKey as err:
        raise StorageError(
            f"retrain: {where} is gone, though {CURRENT} names it; restore it, or remove "
            f"{CURRENT}: the next merge writes both"
        ) from err
    return {item.sha256: item.label for item in read_manifest(data, where).labels}


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
