"""The model behind the SageMaker endpoint: one image in, what it says out.

Every call asks the endpoint to keep it out of drift, prediction log and review queue: what
people look at is no traffic.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from PIL import Image

from components.labeling.errors import EndpointAwayError, NoSuggestionError

_ATTRIBUTES = "record=false"
_ANY_IMAGE = "application/x-image"
_CONNECT_S = 2.0
_READ_S = 30.0
_OVERLOADED = 503  # or being started
_SETUP_READ_S = 2.0  # Label Studio gives /setup 3 s


@dataclass(frozen=True)
class Answer:
    """What the model says of an image; labels and probabilities in its own order."""

    model_version: str
    label: str
    confidence: float
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class ModelFacts:
    """The deployed model, as it names itself."""

    version: str
    labels: tuple[str, ...]


def runtime_client(connections: int, read_s: float = _READ_S) -> Any:
    """Return boto3's client; it honours AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=read_s,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=connections,
    )
    return boto3.client("sagemaker-runtime", config=config)


class Model:
    """An endpoint by its name; safe to call from many threads.

    quick: a client that gives up in time for /setup; default: the same.
    """

    def __init__(self, client: Any, endpoint: str, quick: Any = None) -> None:
        self._client = client
        self._quick = quick or client
        self._endpoint = endpoint

    def ask(self, image: bytes) -> Answer:
        """Return what the model says.

        Raises:
            NoSuggestionError: it takes no such image, or fails on it.
            EndpointAwayError: nobody answers.
        """
        return self._ask(self._client, image)

    def describe(self) -> ModelFacts:
        """Return the deployed model's version and labels.

        Raises:
            EndpointAwayError: nobody answers, or not as a model does.
        """
        try:
            answer = self._ask(self._quick, _tiny_image())
        except NoSuggestionError as err:
            raise EndpointAwayError(str(err)) from err
        return ModelFacts(answer.model_version, answer.labels)

    def _ask(self, client: Any, image: bytes) -> Answer:
        try:
            found = client.invoke_endpoint(
                EndpointName=self._endpoint,
                Body=image,
                ContentType=_ANY_IMAGE,
                Accept="application/json",
                CustomAttributes=_ATTRIBUTES,
            )
            return _read_answer(found["Body"].read())
        except ClientError as err:
            raise _explained(err, self._endpoint) from err
        except (ConnectionError, HTTPClientError) as err:
            raise EndpointAwayError(f"{self._endpoint}: {err}; is it in service?") from err
        except BotoCoreError as err:
            raise EndpointAwayError(
                f"endpoint {self._endpoint}: {err}; check region and role"
            ) from err


def _explained(err: ClientError, endpoint: str) -> NoSuggestionError | EndpointAwayError:
    """Tell a model that fails on an image from one that is not there."""
    status = int(err.response.get("OriginalStatusCode") or 0)
    if err.response["Error"]["Code"] == "ModelError" and status != _OVERLOADED:
        said = str(err.response.get("OriginalMessage", ""))[:200]
        return NoSuggestionError("refused", f"the model does not take it ({status}): {said}")
    return EndpointAwayError(f"{endpoint}: {err}; is it in service?")


def _read_answer(body: bytes) -> Answer:
    try:
        document = json.loads(body)
        (said,) = document["predictions"]
        probabilities = said["probabilities"]
        answer = Answer(
            str(document["model_version"]),
            str(said["label"]),
            float(said["confidence"]),
            tuple(probabilities),
            tuple(map(float, probabilities.values())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise NoSuggestionError("odd", f"the endpoint's answer is no prediction: {err!r}") from err
    if answer.label not in answer.labels or not 0 <= answer.confidence <= 1:
        raise NoSuggestionError("odd", "the endpoint's answer contradicts itself")
    return answer


def _tiny_image() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(stream, format="PNG")
    return stream.getvalue()


def quick_client() -> Any:
    """Return a client that answers or gives up before /setup must answer."""
    return runtime_client(1, _SETUP_READ_S)
