"""Ask a deployed model through AWS: an endpoint by its name, or a Lambda function.

Both answer with the same document (shared/vision/answers.py), and at home the local
runtime address does too, since boto3 honours AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from shared.component.errors import VisionloopError

# An encoded image and custom attributes in, the response's document out.
Ask = Callable[[bytes, str], dict[str, Any]]
FUNCTION = "lambda:"  # begin of the name of a function: lambda:NAME or lambda:NAME:ALIAS
_OVERLOADED = 503  # or being started
_ANY_IMAGE = "application/x-image"
_JSON = "application/json"


class ModelRefusedError(VisionloopError):
    """The model does not take this image.

    status: the HTTP status it answered with. said: its own words, fit for a client.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the model does not take it ({status}): {said}")
        self.status = status
        self.said = said


class ModelAwayError(VisionloopError):
    """Nobody answers, now; `is_waking`: it is being started, or has too much to do."""

    def __init__(self, message: str, is_waking: bool = False) -> None:
        super().__init__(message)
        self.is_waking = is_waking


class EndpointCaller:
    """A SageMaker endpoint; `client` is boto3's for sagemaker-runtime."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self._client = client
        self._endpoint = endpoint

    def __call__(self, image: bytes, attributes: str) -> dict[str, Any]:
        """Return the document that answers one encoded image.

        attributes: options, as X-Amzn-SageMaker-Custom-Attributes has them.
        Raises:
            ModelRefusedError: it takes no such image, or fails on it.
            ModelAwayError: nobody answers.
        """
        options = {"CustomAttributes": attributes} if attributes else {}
        try:
            found = self._client.invoke_endpoint(
                EndpointName=self._endpoint,
                Body=image,
                ContentType=_ANY_IMAGE,
                Accept=_JSON,
                **options,
            )
            return _read(found["Body"].read())
        except ClientError as err:
            raise self._explained(err) from err
        except BotoCoreError as err:
            raise ModelAwayError(
                f"endpoint {self._endpoint}: {err}; is it in service, are region and role right?"
            ) from err

    def _explained(self, err: ClientError) -> VisionloopError:
        """Tell a model that fails on an image from one that is not there."""
        response: Mapping[str, Any] = err.response
        status = int(response.get("OriginalStatusCode") or 0)
        if response["Error"]["Code"] == "ModelError" and status != _OVERLOADED:
            return ModelRefusedError(status, _message(response.get("OriginalMessage", "")))
        http = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        is_waking = _OVERLOADED in (status, http) or response["Error"]["Code"] == "ModelNotReady"
        return ModelAwayError(f"{self._endpoint}: {err}; is it in service?", is_waking)


class FunctionCaller:
    """A Lambda function of components/serverless; `client` is boto3's for lambda."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def __call__(self, image: bytes, attributes: str) -> dict[str, Any]:
        """Do what `EndpointCaller` does."""
        event = {
            "instances": [{"b64": base64.b64encode(image).decode()}],
            "custom_attributes": attributes,
        }
        try:
            found = self._client.invoke(FunctionName=self._name, Payload=json.dumps(event).encode())
            body = found["Payload"].read()
        except (ClientError, BotoCoreError) as err:
            raise ModelAwayError(f"function {self._name}: {err}; is it deployed?") from err
        if "FunctionError" in found:
            raise ModelAwayError(f"function {self._name} failed; its log says why")
        document = _read(body)
        if "status" in document:
            if document["status"] == _OVERLOADED:
                raise ModelAwayError(f"function {self._name} cannot answer now", is_waking=True)
            raise ModelRefusedError(int(document["status"]), str(document.get("message", "")))
        return document


def caller(name: str, client: Callable[[str], Any]) -> Ask:
    """Return what asks the model behind a name; client: makes boto3's by the service's name."""
    if name.startswith(FUNCTION):
        return FunctionCaller(client("lambda"), name.removeprefix(FUNCTION))
    return EndpointCaller(client("sagemaker-runtime"), name)


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as err:
        raise ModelAwayError(f"the model's answer is no JSON: {err}; is it of this kind?") from err
    if not isinstance(document, dict):
        raise ModelAwayError("the model's answer is no prediction; is it of this kind?")
    return document


def _message(text: str) -> str:
    """Return what the model says of itself; its body is JSON with `message`."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
