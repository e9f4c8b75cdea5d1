"""What the suite knows of the endpoint it tests."""

from __future__ import annotations

import http.client
import io
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from botocore.exceptions import ClientError
from PIL import Image

from shared.vision.golden import GoldenImage

_TIMEOUT_S = 70


@dataclass(frozen=True)
class Reply:
    """What the container said, whichever way it was asked."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def probabilities(self) -> np.ndarray:
        """Return float64 [images, classes] of a JSON response."""
        rows = [list(p["probabilities"].values()) for p in self.document["predictions"]]
        return np.array(rows)


@dataclass(frozen=True)
class Target:
    """An endpoint.

    client: boto3's for sagemaker-runtime.
    address: where plain HTTP reaches it; empty for one on AWS, which shows only invoke_endpoint.
    """

    client: Any
    name: str
    address: str
    golden: tuple[GoldenImage, ...]
    classes: tuple[str, ...]

    def ask(
        self,
        body: bytes,
        content_type: str = "application/x-image",
        accept: str = "",
        attributes: str = "",
    ) -> Reply:
        """Ask by invoke_endpoint; an error of the model's is a reply like any other."""
        wishes = {"ContentType": content_type, "Accept": accept, "CustomAttributes": attributes}
        given = {name: value for name, value in wishes.items() if value}
        try:
            response = self.client.invoke_endpoint(EndpointName=self.name, Body=body, **given)
        except ClientError as err:
            said: dict[str, Any] = dict(err.response)
            if "OriginalStatusCode" not in said:  # not the model's
                raise
            message = said["OriginalMessage"].encode()
            return Reply(said["OriginalStatusCode"], "application/json", message)
        return Reply(200, response["ContentType"], response["Body"].read())

    def http(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """Ask by plain HTTP."""
        if not self.address:
            pytest.skip("an endpoint on AWS shows invoke_endpoint alone; give --endpoint-url")
        url = urlsplit(self.address)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named.get("content-type", ""), response.read(), named)
        finally:
            connection.close()


def pixels(image: GoldenImage) -> np.ndarray:
    """Return a golden image's pixels: uint8 [height, width, 3]."""
    with Image.open(io.BytesIO(image.data)) as opened:
        return np.asarray(opened.convert("RGB"))


def encoded(array: np.ndarray, kind: str, **options: Any) -> bytes:
    """Return pixels as an image file, or as .npy."""
    stream = io.BytesIO()
    if kind == "npy":
        np.save(stream, array, allow_pickle=False)
    else:
        Image.fromarray(array).save(stream, format=kind, **options)
    return stream.getvalue()
