"""python -m ci wake: tell a stage's `retrain` that it is time to look.

    python -m ci wake commit --pipeline visionloop-dev    # the code has changed: one run
    python -m ci wake tick                                # is there anything new?

`retrain` reads data and state itself and starts at most one run, never beside another.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from ci.aws import aws_errors
from ci.errors import WakeError

_GROUP = "retrain"  # of the queue; one, so that no two looks run at once


def main(argv: Sequence[str]) -> int:
    """Send one message."""
    parser = argparse.ArgumentParser(
        prog="python -m ci wake",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("why", choices=["commit", "labels", "raw", "tick"])
    parser.add_argument("--pipeline", default="visionloop-dev", help="default: visionloop-dev")
    arguments = parser.parse_args(argv)
    import boto3

    with aws_errors("wake", WakeError):
        wake(boto3.client("sqs"), arguments.pipeline, arguments.why, str(uuid.uuid4()))
    sys.stdout.write(f"{arguments.pipeline}: retrain is woken ({arguments.why})\n")
    return 0


def wake(client: Any, pipeline: str, why: str, message_id: str) -> None:
    """Put a message into the queue of a pipeline's `retrain`.

    message_id: the queue drops a second message of the same text within five minutes.
    """
    url = client.get_queue_url(QueueName=f"{pipeline}-retrain.fifo")["QueueUrl"]
    body = json.dumps({"wake": why, "id": message_id})
    client.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=_GROUP)
