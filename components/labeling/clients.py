"""AWS's clients of the labelling component, made once and handed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.labeling.model import quick_client, runtime_client
from components.labeling.settings import Settings


@dataclass(frozen=True)
class Clients:
    """boto3's; quick_runtime gives up before Label Studio does."""

    s3: Any
    runtime: Any
    quick_runtime: Any

    @classmethod
    def connect(cls, settings: Settings) -> Clients:
        """Make them, each with a connection for every thread that uses it."""
        return cls(
            s3_client(settings.concurrency), runtime_client(settings.concurrency), quick_client()
        )


def s3_client(connections: int) -> Any:
    """Return a client with short waits; it honours AWS_ENDPOINT_URL."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=2,
        read_timeout=10,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=connections,
    )
    return boto3.client("s3", config=config)
