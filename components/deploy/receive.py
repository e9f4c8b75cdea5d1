"""Approvals from the queue: one execution a change of a package, however often it is told.

EventBridge cannot name an execution, so that its rule cannot start the state machine itself:
SageMaker may send several events for one change, and each would be an execution.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.deploy.clients import Clients, code_of
from components.deploy.registry import Package, read_package
from components.deploy.settings import Settings

log = logging.getLogger(__name__)
_NAME_CHARS = 80  # Step Functions' limit


def receive(
    records: list[Mapping[str, Any]], clients: Clients, settings: Settings
) -> dict[str, Any]:
    """Start an execution for each package told of, and name the messages that failed.

    A failed message comes again, and after some times lies in the dead-letter queue.
    """
    failed = []
    for record in records:
        try:
            arn = json.loads(record["body"])["detail"]["ModelPackageArn"]
            _start(str(arn), clients, settings)
        except (ClientError, ValueError, KeyError, TypeError) as err:
            log.warning("message %s: %r; it comes again", record["messageId"], err)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _start(arn: str, clients: Clients, settings: Settings) -> None:
    package = read_package(clients["sagemaker"], arn)  # the payload may be old, or anybody's
    if package is None or package.group != settings.base:
        log.info("%s is %s; nothing to do", arn, "of another group" if package else "gone")
        return
    name = name_of(package)
    try:
        clients["stepfunctions"].start_execution(
            stateMachineArn=settings.state_machine,
            name=name,
            input=json.dumps({"package": package.arn}),
        )
    except ClientError as err:
        if code_of(err) != "ExecutionAlreadyExists":
            raise
        log.info("%s runs or ran already", name)
    else:
        log.info("started %s", name)


def name_of(package: Package) -> str:
    """Name the execution of one change; the same change gives the same name."""
    tail = f"-{package.version}-{package.changed}"
    return package.group[: _NAME_CHARS - len(tail)] + tail
