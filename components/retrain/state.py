"""What was trained and what was started: one JSON object, written whole, never blindly.

The start of a run is written down before SageMaker is asked (`Start` without an execution),
so that a crash between the two is finished by the next look: the run is found by its name, or
asked for once more with the same token, which SageMaker answers with the same execution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.component.errors import StorageError

_KEY = "retrain/state.json"
_SCHEMA = 2


@dataclass(frozen=True)
class Snapshot:
    """The data of one run.

    sets: raw data sets that runs were started on, name to version (when its _SUCCESS was
        written); they never start one again.
    raw_set: the one that this run reads, "" for none.
    labels: that people gave, by the image's sha256.
    manifest: the file below labels/ that holds them, "" for none.
    """

    sets: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    raw_set: str = ""
    manifest: str = ""

    @property
    def fingerprint(self) -> str:
        """Return what tells this data from any other, 64 characters.

        Of the labels alone: who gave them is no difference to a training run.
        """
        version = self.sets.get(self.raw_set, "")
        text = json.dumps([self.raw_set, version, self.labels], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def changes(self, before: Snapshot) -> int:
        """Count the images whose label is new, other or gone since `before`."""
        images = self.labels.keys() | before.labels.keys()
        return sum(self.labels.get(image) != before.labels.get(image) for image in images)


@dataclass(frozen=True)
class Start:
    """A run that was asked for.

    token: SageMaker answers a second request with it by the same execution.
    execution: its ARN; "" until SageMaker has answered.
    """

    token: str
    parameters: Mapping[str, str]
    snapshot: Snapshot
    execution: str = ""


@dataclass(frozen=True)
class State:
    """trained: the data of the last run that succeeded.

    started: the last run, until it has succeeded; it stays there when it failed.
    is_pending: something waits; the next tick looks whatever the poll frequency.
    is_drift_pending: what waits is a drift alarm, which trains on little.
    is_commit_pending: what waits is other code, which trains whatever the data.
    """

    trained: Snapshot = field(default_factory=Snapshot)
    started: Start | None = None
    looked_at_s: float = 0.0
    is_pending: bool = False
    is_drift_pending: bool = False
    is_commit_pending: bool = False


class StateFile:
    """The state in a bucket; `client` is boto3's for S3."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._etag = ""

    def read(self) -> State:
        """Return the state; an empty one before the first run.

        Raises:
            StorageError: what is there is no state.
        """
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=_KEY)
        except self._client.exceptions.NoSuchKey:
            self._etag = ""
            return State()
        self._etag = found["ETag"]
        try:
            return _read(json.loads(found["Body"].read()))
        except (ValueError, KeyError, TypeError) as err:
            raise StorageError(
                f"retrain: s3://{self._bucket}/{_KEY} is no state: {err!r}; restore an earlier "
                "version of the object, or delete it to train on all data once more"
            ) from err

    def write(self, state: State) -> None:
        """Put the state in place of the one that was read.

        Raises:
            StorageError: another has written since; nothing was changed.
        """
        from botocore.exceptions import ClientError

        body = json.dumps(asdict(state) | {"schema": _SCHEMA}, sort_keys=True).encode()
        condition = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
        try:
            put = self._client.put_object(Bucket=self._bucket, Key=_KEY, Body=body, **condition)
        except ClientError as err:
            if err.response["Error"]["Code"] not in ("PreconditionFailed", "412"):
                raise
            raise StorageError(
                f"retrain: s3://{self._bucket}/{_KEY} was changed by another meanwhile; "
                "the message is tried again"
            ) from err
        self._etag = put["ETag"]


def _read(document: dict[str, Any]) -> State:
    if document.pop("schema") != _SCHEMA:
        raise ValueError("another schema")
    started = document.pop("started")
    trained = Snapshot(**document.pop("trained"))
    if started is not None:
        started = Start(**started | {"snapshot": Snapshot(**started["snapshot"])})
    return State(trained, started, **document)
