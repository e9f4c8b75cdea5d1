"""Retrain: a wake-up in, at most one started run of the pipeline out."""

from __future__ import annotations

import json
import os
import re
import sys

from components.retrain.decide import Wake
from components.retrain.handler import Clients, Look, Settings
from shared.component.errors import InputError, StorageError

_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"  # host:port, set by Lambda
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def run(
    *,
    data_bucket: str,
    artifacts_bucket: str,
    pipeline: str,
    operator_path: str,
    quiet_s: int,
    wake: str,
    dry_run: bool,
) -> None:
    """Answer Lambda's events until it stops asking; without Lambda look once.

    Raises:
        InputError: a bucket's name is none.
        StorageError: AWS refuses, or cannot be reached.
    """
    if address := os.environ.get(_RUNTIME_API):
        from awslambdaric import bootstrap
        from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

        bootstrap.run("components.retrain.handler.handle", LambdaRuntimeClient(address))
        return
    settings = Settings(pipeline, data_bucket, artifacts_bucket, operator_path, quiet_s)
    for name, bucket in (("data", data_bucket), ("artifacts", artifacts_bucket)):
        if not _BUCKET.fullmatch(bucket):
            raise InputError(
                f"retrain: '{bucket}' is no bucket's name; pass --{name}-bucket, without s3://"
            )
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        decision = Look(Clients.connect(), settings).run([Wake(wake)], is_dry=dry_run)
    except (BotoCoreError, ClientError) as err:
        raise StorageError(
            f"retrain: {err}; check AWS_PROFILE and AWS_REGION, the names, and the role's rights"
        ) from err
    document = {"outcome": decision.outcome.value, "reason": decision.reason}
    if decision.start is not None:
        document["parameters"] = json.dumps(dict(decision.start.parameters), sort_keys=True)
    sys.stdout.write(json.dumps(document) + "\n")
