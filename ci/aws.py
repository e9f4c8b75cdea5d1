"""What boto3 raises, as one line with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.component.errors import VisionloopError


@contextmanager
def aws_errors(command: str, error: type[VisionloopError], instead: str = "") -> Iterator[None]:
    """Raise `error` for what boto3 raises.

    instead: what else can be done where AWS is not reached.

    Raises:
        error: there are no credentials, AWS refuses, or cannot be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        raise error(f"{command}: AWS refuses: {err}; see the rights of your role") from err
    except BotoCoreError as err:
        raise error(
            f"{command}: {err}; set AWS_PROFILE and AWS_REGION or run `aws configure`{instead}"
        ) from err
