"""Errors of the host side.

VisionloopError              shared.component.errors, exit status 1
├── DefinitionError          a pipeline definition cannot be interpreted
├── ExecutionError           an execution, a pipeline or a model package is not there, or not ready
├── SettingsError            an environment variable is missing or wrong
├── CostError                a run may cost more than allowed, or nobody knows its price
└── JobError                 a job failed; carries what retry policies ask for
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class DefinitionError(VisionloopError):
    """A pipeline definition holds something that cannot be interpreted."""


class ExecutionError(VisionloopError):
    """An execution, a pipeline or a model package is not there, or not ready."""


class SettingsError(VisionloopError):
    """An environment variable is missing or wrong."""


class CostError(VisionloopError):
    """A run may cost more than its limit, or something has no known price."""


class JobError(VisionloopError):
    """A job failed.

    retry_type: the exception type of SageMaker's retry policies that matches; empty
        for an error of the algorithm, which a retry would only repeat.
    """

    def __init__(self, message: str, retry_type: str = "") -> None:
        super().__init__(message)
        self.retry_type = retry_type
