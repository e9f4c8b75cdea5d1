"""What the stack tells the function: one variable each, named as component.yaml's inputs are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from shared.component.errors import UsageError

_PREFIX = "VISIONLOOP_"
# A tag moves; a digest does not: what was tested is what serves.
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Settings:
    """Names, roles and sizes of one stage.

    target: endpoint, serverless or lambda.
    max_units: instances; target_invocations: a minute and instance.
    canary_s: seconds that a new version of the function serves a part.
    """

    project: str
    stage: str
    target: str
    artifacts_bucket: str
    sink: str
    state_machine: str
    notices: str
    endpoint_role: str
    predict_role: str
    predict_image: str
    predict_architecture: str
    instance_type: str
    max_units: int
    target_invocations: int
    memory_mb: int
    max_concurrency: int
    canary_s: int

    def __post_init__(self) -> None:
        if self.target == "lambda" and not _DIGEST.fullmatch(self.predict_image):
            raise UsageError(
                f"deploy: predict_image is '{self.predict_image}', which names no digest; give "
                "REGISTRY/NAME@sha256:DIGEST, as `python -m ci push` prints it"
            )

    @property
    def base(self) -> str:
        """Name of the endpoint and of the model package group; begin of all other names."""
        return f"{self.project}-{self.stage}"

    @property
    def tags(self) -> dict[str, str]:
        return {
            "project": self.project,
            "stage": self.stage,
            "stack": "deploy",
            "managed-by": "visionloop",
        }

    @property
    def operator_path(self) -> str:
        return f"/{self.project}/{self.stage}/operator"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the function's variables.

        Raises:
            UsageError: one is missing or no number.
        """
        try:
            given = {field.name: environ[_PREFIX + field.name.upper()] for field in fields(cls)}
        except KeyError as err:
            raise UsageError(f"deploy: {err} is not set; deploy ci/stacks/deploy.yaml") from err
        return cls.from_texts(given)

    @classmethod
    def from_texts(cls, given: Mapping[str, object]) -> Settings:
        """Return settings from values that may still be texts.

        Raises:
            UsageError: one is no number.
        """
        numbers = {field.name for field in fields(cls) if field.type == "int"}
        values: dict[str, object] = {}
        for name, value in given.items():
            try:
                values[name] = int(str(value)) if name in numbers else str(value)
            except ValueError as err:
                raise UsageError(f"deploy: {name} is '{value}'; give a whole number") from err
        return cls(**values)  # type: ignore[arg-type]  # each by its field's type
