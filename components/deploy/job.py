"""One deployment as it travels through the state machine, and the names of what it makes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_NAME = re.compile(r".*-v(?P<version>\d+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class Job:
    """What is deployed, and what served before.

    package: ARN; model_data: s3:// URI of its model.tar.gz.
    suffix: tells apart what two executions make of one version.
    previous, previous_version: what to go back to; "" and 0: nothing served.
    """

    package: str
    version: int
    model_data: str
    suffix: str
    previous: str
    previous_version: int

    def name(self, base: str) -> str:
        """Name of the model and the endpoint config, the same at every attempt."""
        return f"{base}-v{self.version}-{self.suffix}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


def suffix_of(execution: str) -> str:
    """Return eight hex digits that stand for an execution; the ARN is too long for names."""
    return hashlib.sha256(execution.encode()).hexdigest()[:8]


def version_in(name: str) -> int:
    """Return the package version in a name that `Job.name` made; 0: it made none."""
    found = _NAME.fullmatch(name)
    return int(found["version"]) if found else 0
