"""The function: messages of the queue, actions of the state machine, changed parameters.

{"Records": [...]}                                  receive.py
{"action": "stage", "job": ..., ...}                steps.py
{"detail-type": "Parameter Store Change", ...}      scaling
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from components.deploy.clients import Clients, boto3_clients
from components.deploy.notice import compose
from components.deploy.receive import receive
from components.deploy.settings import Settings
from components.deploy.steps import Steps
from components.deploy.target import Target
from shared.component import logs
from shared.component.errors import InputError
from shared.component.operator import OperatorValues, ParameterStore, read_operator

log = logging.getLogger(__name__)


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's
    """Answer one event of Lambda, with the settings of its variables."""
    return dispatch(event, _settings(), _clients(), time.time)


def dispatch(
    event: Mapping[str, Any], settings: Settings, clients: Clients, clock: Callable[[], float]
) -> dict[str, Any]:
    """Answer one event.

    clock: returns epoch seconds.
    Raises:
        InputError: nobody we know sends such events.
        DeployError: an action failed.
    """
    if "Records" in event:
        return receive(event["Records"], clients, settings)
    steps = Steps(clients, settings, make_target(settings, clients, clock), clock)
    if "action" in event:
        return steps.act(event)
    if event.get("detail-type") == "Parameter Store Change":
        return _scale(settings, clients, steps, clock)
    raise InputError(
        f"deploy: an event with {', '.join(sorted(event)) or 'nothing'} in it; give one of the "
        "queue, of the state machine, or of Parameter Store"
    )


def make_target(settings: Settings, clients: Clients, clock: Callable[[], float]) -> Target:
    """Return the target that the stack names."""
    if settings.target == "lambda":
        from components.deploy.function import FunctionTarget

        return FunctionTarget(clients, settings, clock)
    from components.deploy.endpoint import InstanceStyle
    from components.deploy.hosting import HostedTarget
    from components.deploy.serverless import ServerlessStyle

    def operator() -> OperatorValues:
        return read_operator(ParameterStore(clients["ssm"], settings.operator_path))

    is_serverless = settings.target == "serverless"
    style = (
        ServerlessStyle(settings) if is_serverless else InstanceStyle(clients, settings, operator)
    )
    return HostedTarget(clients, settings, style)


def _scale(
    settings: Settings, clients: Clients, steps: Steps, clock: Callable[[], float]
) -> dict[str, Any]:
    target = make_target(settings, clients, clock)
    said, serving = target.scale(), target.serving()
    if settings.target == "endpoint" and serving.version:  # elsewhere nothing has changed
        subject, text = compose(settings.base, "scaled", serving.version, serving, said, "none")
        steps.tell(subject, text)
    return {"scaled": said}


@cache  # variables and clients are the process's own and last as long as it does
def _settings() -> Settings:
    logs.configure()
    return Settings.from_environ()


@cache
def _clients() -> Clients:
    return boto3_clients()
