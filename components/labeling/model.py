"""The model behind the SageMaker endpoint: one image in, what it says out.

Every call asks the endpoint to keep it out of drift, prediction log and review queue: what
people look at is no traffic.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from components.labeling.errors import EndpointAwayError, NoSuggestionError
from shared.component.invoke import EndpointCaller, ModelAwayError, ModelRefusedError

_ATTRIBUTES = "record=false"
_CONNECT_S = 2.0
_READ_S = 30.0
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
            return _read_answer(EndpointCaller(client, self._endpoint)(image, _ATTRIBUTES))
        except ModelRefusedError as err:
            raise NoSuggestionError("refused", str(err)) from err
        except ModelAwayError as err:
            raise EndpointAwayError(str(err)) from err


def _read_answer(document: dict[str, Any]) -> Answer:
    try:
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
