"""A serverless endpoint: memory and concurrency; SageMaker offers no canary for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.deploy.settings import Settings


class ServerlessStyle:
    """Invocations without instances: the config is swapped after the staging endpoint's test."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def alarms(self) -> tuple[str, ...]:
        """Deployment guardrails leave serverless endpoints out: no alarm would do anything."""
        return ()

    def capacity(
        self,
        endpoint: Mapping[str, Any] | None,  # noqa: ARG002 - it has no fleet
        is_staging: bool,
    ) -> dict[str, Any]:
        concurrency = 1 if is_staging else self._settings.max_concurrency
        size = {"MemorySizeInMB": self._settings.memory_mb, "MaxConcurrency": concurrency}
        return {"ServerlessConfig": size}

    def before_update(self, endpoint: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def scale(self) -> str:
        return f"up to {self._settings.max_concurrency} invocations at once, down to none"
