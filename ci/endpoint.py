"""An endpoint as its clients see it: boto3's sagemaker-runtime, at home and on AWS alike."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.component.errors import UsageError, VisionloopError

LOCAL_NAME = "local"  # what components/inference answers to unless told otherwise
_READ_TIMEOUT_S = 70  # SageMaker itself gives a model 60 seconds


class EndpointError(VisionloopError):
    """The endpoint cannot be asked, or does not speak our language."""


class RefusedError(EndpointError):
    """The endpoint answered a request with an error of its own."""


@dataclass(frozen=True)
class Answer:
    """The response to one image.

    prediction: label, confidence, entropy, and probabilities or top.
    latency_ms: as the client saw it, the network included.
    """

    prediction: dict[str, Any]
    model_version: str
    request_id: str
    is_drift: bool | None
    latency_ms: float


@dataclass(frozen=True)
class Endpoint:
    """boto3's client for sagemaker-runtime and the endpoint's name."""

    client: Any
    name: str

    @classmethod
    def at(cls, place: str) -> Endpoint:
        """Return the endpoint at http://host:port[/name], or of that name on AWS.

        Raises:
            UsageError: the address is none.
            EndpointError: no region is configured for a name.
        """
        waits: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": _READ_TIMEOUT_S,
            "retries": {"total_max_attempts": 2},
        }
        try:
            if "://" not in place:
                region = os.environ.get("AWS_REGION")  # boto3 reads AWS_DEFAULT_REGION alone
                named: Any = boto3.Session(region_name=region)
                return cls(named.client("sagemaker-runtime", config=Config(**waits)), place)
            url = urlsplit(place)
            is_web = url.scheme in ("http", "https") and url.hostname and url.port != 0
            if not is_web or "/" in url.path[1:]:
                raise UsageError(f"invoke: no address {place}; give http://host:port[/name]")
            # Nobody at home asks who we are; no AWS configuration is needed.
            config = Config(signature_version=UNSIGNED, proxies={}, **waits)
            session: Any = boto3.Session(region_name="us-east-1")
            client = session.client(
                "sagemaker-runtime", endpoint_url=f"{url.scheme}://{url.netloc}", config=config
            )
        except (BotoCoreError, ValueError) as err:  # ValueError: a port that is no number
            raise EndpointError(
                f"invoke: cannot reach {place}: {err}; set AWS_REGION, or give http://host:port"
            ) from err
        return cls(client, url.path[1:] or LOCAL_NAME)

    def ask(self, image: bytes, attributes: str = "") -> Answer:
        """Send one encoded image.

        attributes: options, as X-Amzn-SageMaker-Custom-Attributes has them.
        Raises:
            RefusedError: the model answered with an error; the message is its own.
            EndpointError: there is no such endpoint, or it cannot be reached.
        """
        options: dict[str, Any] = {"CustomAttributes": attributes} if attributes else {}
        started = time.perf_counter()
        try:
            response = self.client.invoke_endpoint(
                EndpointName=self.name,
                Body=image,
                ContentType="application/x-image",
                Accept="application/json",
                **options,
            )
            body = response["Body"].read()
        except ClientError as err:
            raise self._explained(err) from err
        except BotoCoreError as err:
            raise EndpointError(
                f"invoke: cannot ask endpoint {self.name}: {err}; is it running, and are "
                "credentials set?"
            ) from err
        return self._read(body, 1e3 * (time.perf_counter() - started))

    def _explained(self, err: ClientError) -> EndpointError:
        response: dict[str, Any] = dict(err.response)
        if "OriginalStatusCode" in response:  # ModelError: what the container said
            text = response.get("OriginalMessage") or ""
            try:
                said = json.loads(text)
                return RefusedError(
                    f"{response['OriginalStatusCode']} {said['error']}: {said['message']}"
                )
            except (ValueError, KeyError, TypeError):
                return RefusedError(f"{response['OriginalStatusCode']}: {text[:200]}")
        error = response["Error"]
        return EndpointError(
            f"invoke: endpoint {self.name}: {error['Code']}: {error.get('Message', '')} "
            "Check the endpoint's name, the region and the role"
        )

    def _read(self, body: bytes, latency_ms: float) -> Answer:
        try:
            document = json.loads(body)
            (prediction,) = document["predictions"]
            return Answer(
                prediction,
                document["model_version"],
                document["request_id"],
                document["is_drift"],
                latency_ms,
            )
        except (ValueError, KeyError, TypeError) as err:
            raise EndpointError(
                f"invoke: endpoint {self.name} answers otherwise than components/inference; "
                "is it another model's?"
            ) from err
