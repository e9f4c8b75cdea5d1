"""The sources of all that an operator sees, put together from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.web.clients import Clients
from components.web.operator.cloudwatch_source import CloudWatch
from components.web.operator.data import DataSource
from components.web.operator.datasets import Datasets
from components.web.operator.emf_source import EmfFiles
from components.web.operator.labelling import LabellingSource
from components.web.operator.live import LiveSource
from components.web.operator.packages import Packages
from components.web.operator.parameters import ParameterSource
from components.web.operator.runs import Runs
from components.web.operator.serving import EndpointServing, FunctionServing, ServingSource
from components.web.operator.step_logs import StepLogs
from components.web.settings import CLOUDWATCH, Settings

_LAMBDA = "lambda:"


@dataclass(frozen=True)
class Operations:
    """What an operator may look at and change, by subject."""

    runs: Runs
    logs: StepLogs
    packages: Packages
    serving: ServingSource
    live: LiveSource
    labelling: LabellingSource
    datasets: Datasets
    parameters: ParameterSource
    data: DataSource

    @classmethod
    def connect(
        cls, settings: Settings, clients: Clients, clock: Callable[[], float]
    ) -> Operations:
        """Return the sources; nothing is asked yet. clock: seconds since the epoch."""
        s3 = clients.s3
        runs = Runs(clients.sagemaker, s3, settings.name, clock)
        return cls(
            runs=runs,
            logs=StepLogs(clients.logs),
            packages=Packages(clients.sagemaker, s3, settings.name),
            serving=_serving(settings, clients),
            live=_live(settings, clients, clock),
            labelling=LabellingSource(
                settings.sink, settings.labels, settings.label_report, settings.label_studio, s3
            ),
            datasets=Datasets(settings.raw, s3, settings.max_body_bytes),
            parameters=ParameterSource(clients.ssm, settings.operator_path),
            data=DataSource(runs, s3),
        )


def _serving(settings: Settings, clients: Clients) -> ServingSource:
    if not settings.model.startswith(_LAMBDA):
        return EndpointServing(clients.sagemaker, settings.model)
    function, _, alias = settings.model.removeprefix(_LAMBDA).partition(":")
    return FunctionServing(clients("lambda"), function, alias)


def _live(settings: Settings, clients: Clients, clock: Callable[[], float]) -> LiveSource:
    # A function reports under the name that an endpoint of its stage would have.
    is_function = settings.model.startswith(_LAMBDA)
    endpoint = settings.name if is_function else settings.model
    if settings.metrics == CLOUDWATCH:
        return CloudWatch(endpoint, clients.cloudwatch, clock)
    return EmfFiles(endpoint, settings.sink, clients.s3, clock)
