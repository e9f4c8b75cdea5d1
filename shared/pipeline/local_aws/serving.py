"""What <home>/serving.json says of the endpoint: written by its deployer, read by Describe...

Names are those of components/deploy: of NAME's version 3 the endpoint config and the model
are NAME-v3-local.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.component.files import write_json
from shared.pipeline.errors import ExecutionError

FILE = "serving.json"


@dataclass(frozen=True)
class Deployment:
    """One approved package as it is brought to the endpoint.

    package: its ARN.
    """

    version: int
    package: str
    model_data_url: str
    created: str

    def name(self, endpoint: str) -> str:
        return f"{endpoint}-v{self.version}-local"


@dataclass(frozen=True)
class Serving:
    """The endpoint, in the words of DescribeEndpoint.

    status: Creating, InService, Updating or Failed.
    current: what serves, or did when nothing does now; pending: what is being started.
    failure: why the last attempt failed, empty when it did not.
    known: every deployment there was, for its config and model.
    """

    endpoint: str
    status: str
    created: str
    modified: str
    current: Deployment | None = None
    pending: Deployment | None = None
    failure: str = ""
    known: tuple[Deployment, ...] = ()

    def save(self, home: Path) -> None:
        write_json(home / FILE, asdict(self))

    @classmethod
    def load(cls, home: Path) -> Serving | None:
        """Return what is known of the endpoint, None where there never was one.

        Raises:
            ExecutionError: the file says something else.
        """
        try:
            body: dict[str, Any] = json.loads((home / FILE).read_text())
            for name in ("current", "pending"):
                body[name] = Deployment(**body[name]) if body[name] else None
            return cls(**body | {"known": tuple(Deployment(**each) for each in body["known"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as err:
            raise ExecutionError(
                f"local AWS: {home / FILE} is damaged: {err}; remove it, and `ci web` deploys anew"
            ) from err
