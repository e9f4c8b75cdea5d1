"""One deployment at a time: an object that S3 lets one writer make or change.

The object names the execution that holds the lock, or none. A holder whose execution has
ended, however it did, holds nothing: nobody has to clean up after a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from components.deploy.clients import code_of

_KEY = "deploy/lock.json"
# 412: the condition does not hold; 409: another conditional write was faster.
_LOST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class Lock:
    """The lock of a stage; `client` is boto3's for S3.

    is_running: whether an execution, by its ARN, still runs.
    """

    def __init__(self, client: Any, bucket: str, is_running: Callable[[str], bool]) -> None:
        self._client = client
        self._bucket = bucket
        self._is_running = is_running

    def take(self, execution: str) -> bool:
        """Take the lock, or keep it; false: another execution has it."""
        if self._write(execution, IfNoneMatch="*"):
            return True
        holder, etag = self._read()
        if holder == execution:
            return True
        if holder and self._is_running(holder):
            return False
        return self._write(execution, IfMatch=etag)

    def release(self, execution: str) -> None:
        """Give the lock back; nothing happens where another has it by now."""
        holder, etag = self._read()
        if holder == execution:
            self._write("", IfMatch=etag)

    def _read(self) -> tuple[str, str]:
        found = self._client.get_object(Bucket=self._bucket, Key=_KEY)
        return str(json.loads(found["Body"].read())["execution"]), found["ETag"]

    def _write(self, execution: str, **condition: str) -> bool:
        body = json.dumps({"execution": execution}).encode()
        try:
            self._client.put_object(Bucket=self._bucket, Key=_KEY, Body=body, **condition)
        except ClientError as err:
            if code_of(err) in _LOST:
                return False
            raise
        return True
