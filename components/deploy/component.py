"""Deploy: one event about a model package in, what became of it out.

In Lambda `handler.handle` does the work; here a person gives it one event, against the AWS
account of the environment.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from components.deploy.clients import boto3_clients
from components.deploy.handler import dispatch
from components.deploy.settings import Settings
from shared.component.errors import InputError, UsageError


def run(
    *,
    event: str,
    project: str,
    stage: str,
    target: str,
    artifacts_bucket: str,
    sink: str,
    state_machine: str,
    notices: str,
    endpoint_role: str,
    predict_role: str,
    predict_image: str,
    predict_architecture: str,
    instance_type: str,
    max_units: int,
    target_invocations: int,
    memory_mb: int,
    max_concurrency: int,
    canary_s: int,
) -> None:
    """Answer the event in a file and print the answer as JSON.

    Raises:
        UsageError: no event is given, or a setting is impossible.
        InputError: the event cannot be read.
        DeployError: what it asks for failed.
    """
    given = dict(locals())
    text = _read(given.pop("event"))
    settings = Settings.from_texts(given)
    answer = dispatch(text, settings, boto3_clients(), time.time)
    sys.stdout.write(json.dumps(answer) + "\n")


def _read(place: str) -> dict[str, object]:
    if not place:
        raise UsageError("deploy: no event; pass --event FILE, or - for stdin")
    try:
        document = json.loads(sys.stdin.read() if place == "-" else Path(place).read_text())
    except (OSError, ValueError) as err:
        raise InputError(f"deploy: cannot read event {place}: {err}; pass --event FILE") from err
    if not isinstance(document, dict):
        raise InputError(f"deploy: event {place} is no JSON object; pass --event FILE")
    return document
