"""boto3's clients, each made when it is first used: most calls need two or three of ten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# SageMaker itself gives a model 60 seconds; a serverless endpoint may start cold.
_READ_TIMEOUT_S = 70


class Clients:
    """Clients by service.

    make: returns boto3's client of a service.
    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make
        self._made: dict[str, Any] = {}

    def __getitem__(self, service: str) -> Any:
        if service not in self._made:
            self._made[service] = self._make(service)
        return self._made[service]


def boto3_clients() -> Clients:
    """Return the clients of the process's own credentials and region."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    session = boto3.Session()
    return Clients(lambda service: session.client(service, config=config))


def code_of(err: Any) -> str:
    """Return the code of a botocore ClientError."""
    return str(err.response["Error"]["Code"])


def is_missing(err: Any) -> bool:
    """Tell whether AWS said that something is not there; SageMaker says it in words only."""
    said = err.response["Error"]
    if said["Code"] in ("ResourceNotFoundException", "ResourceNotFound", "ObjectNotFoundException"):
        return True
    words = ("could not find", "does not exist", "not exist")
    is_validation = said["Code"] == "ValidationException"
    return is_validation and any(word in said.get("Message", "").lower() for word in words)
