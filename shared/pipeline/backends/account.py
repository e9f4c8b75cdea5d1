"""The AWS edge: build the client, find the account, put AWS's errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from shared.pipeline.backends.sagemaker import SageMakerBackend
from shared.pipeline.errors import ExecutionError, SettingsError
from shared.pipeline.settings import Settings


def connect(settings: Settings) -> tuple[SageMakerBackend, Settings]:
    """Return the SageMaker backend and the settings of the account it is in."""
    session = boto3.Session(region_name=settings.region)
    account = session.client("sts").get_caller_identity()["Account"]
    settings = settings.for_account(account)
    client = session.client("sagemaker")
    return SageMakerBackend(client, settings), settings


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turn what boto3 raises into one line with a remedy.

    Raises:
        SettingsError: there are no credentials.
        ExecutionError: AWS refused, or cannot be reached.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as err:
        raise SettingsError(
            "sagemaker: no AWS credentials; set AWS_PROFILE or run `aws configure`, "
            "or run on this machine with --backend local"
        ) from err
    except ClientError as err:
        raise ExecutionError(f"sagemaker: {err}; check the name and the role's rights") from err
    except BotoCoreError as err:
        raise ExecutionError(
            f"sagemaker: {err}; check network and region, or run with --backend local"
        ) from err
