"""AWS's clients of the pages, made when they are first used: a page needs few of them."""

from __future__ import annotations

import threading
from typing import Any

_CONNECTIONS = 64  # threads that answer at once
_CONNECT_S = 3.0
_READ_S = 20.0
_MODEL_READ_S = 65.0  # SageMaker itself gives a model 60 seconds


class Clients:
    """boto3's clients by the names that AWS gives them; safe from many threads.

    region: of all of them.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        """Return the client of a service; it honours AWS_ENDPOINT_URL."""
        with self._lock:
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    @property
    def sagemaker(self) -> Any:
        return self("sagemaker")

    @property
    def runtime(self) -> Any:
        return self("sagemaker-runtime")

    @property
    def ssm(self) -> Any:
        return self("ssm")

    @property
    def logs(self) -> Any:
        return self("logs")

    @property
    def cloudwatch(self) -> Any:
        return self("cloudwatch")

    @property
    def s3(self) -> Any:
        return self("s3")

    def secret(self, arn: str) -> str:
        """Return the text of a secret of Secrets Manager."""
        return str(self("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])

    def _make(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        answers_slowly = service in ("sagemaker-runtime", "lambda")
        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_MODEL_READ_S if answers_slowly else _READ_S,
            # An image is not sent twice to a model that is slow; the browser asks again.
            retries={"total_max_attempts": 1 if answers_slowly else 3, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
        )
        return boto3.client(service, region_name=self._region, config=config)
