"""The ML backend over real HTTP, before an endpoint and an S3 that tests hold in their hands."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from botocore.exceptions import ClientError, EndpointConnectionError

from components.labeling.app import make_app
from components.labeling.images import QueueImages
from components.labeling.label_config import write_config
from components.labeling.model import Model
from components.labeling.predict import Suggestions
from components.labeling.settings import Place, Secrets
from components.labeling.withheld import Withheld
from shared.component.errors import StorageError

QUEUE = Place("capture", "endpoint/")
IMAGES = Place("capture", "endpoint/review/images/")
LABELS = ("cat", "dog")
AUTH = ("studio", "p:w")
SECRETS = Secrets(backend_user=AUTH[0], backend_password=AUTH[1], webhook_secret="hush")  # noqa: S106
_START_S = 20.0


@dataclass
class FakeRuntime:
    """sagemaker-runtime: says what an image's bytes say, `b"dog 0.9"`; counts and obeys.

    before: called with the image before an answer, to fail or to wait.
    """

    labels: Sequence[str] = LABELS
    version: str = "7"
    before: Callable[[bytes], None] = lambda _image: None
    asked: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self.asked.append(request)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            self.before(request["Body"])
        finally:
            with self._lock:
                self._now -= 1
        label, _, confidence = request["Body"].decode(errors="replace").partition(" ")
        if label not in self.labels:
            label, confidence = self.labels[0], "0.6"
        share = float(confidence)
        others = (1 - share) / (len(self.labels) - 1)
        probabilities = {name: share if name == label else others for name in self.labels}
        said = {"label": label, "confidence": share, "probabilities": probabilities}
        body = {"model_version": self.version, "predictions": [said]}
        return {"Body": io.BytesIO(json.dumps(body).encode())}


def away(_image: bytes) -> None:
    raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


def model_error(status: int) -> ClientError:
    """Return what boto3 raises when the model answers with an error."""
    response = {
        "Error": {"Code": "ModelError", "Message": "Received client error"},
        "OriginalStatusCode": status,
        "OriginalMessage": '{"error": "UndecodableImage"}',
    }
    return ClientError(response, "InvokeEndpoint")


@dataclass
class FakeQueue:
    """The review queue: objects by key; is_away: S3 does not answer."""

    objects: dict[str, bytes] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    is_away: bool = False

    class exceptions:  # noqa: N801 - as boto3 spells it
        class NoSuchKey(Exception):  # noqa: N818
            pass

    def put(self, data: bytes, extension: str = "png") -> str:
        """Put an image and return its URI."""
        name = f"{hashlib.sha256(data).hexdigest()}.{extension}"
        self.objects[IMAGES.key(name)] = data
        return IMAGES.uri + name

    def read_object(self, uri: str, max_bytes: int) -> bytes:
        self.read.append(uri)
        data = self.objects.get(uri.removeprefix("s3://capture/"))
        if data is None or len(data) > max_bytes:
            raise StorageError(f"storage: cannot read {uri}")
        return data

    def get_paginator(self, _operation: str) -> FakeQueue:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803, ARG002
        self._answer()
        keys = [key for key in self.objects if key.startswith(Prefix)]
        yield {"Contents": [{"Key": key} for key in keys]} if keys else {}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803, ARG002
        self._answer()
        if Key not in self.objects:
            raise self.exceptions.NoSuchKey
        return {"Body": io.BytesIO(self.objects[Key])}

    def _answer(self) -> None:
        if self.is_away:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


@dataclass
class Stage:
    """What a test talks to and what stands behind it."""

    http: httpx.Client
    runtime: FakeRuntime
    queue: FakeQueue
    hint: threading.Event

    def setup(self, labels: Sequence[str] = LABELS, **more: Any) -> httpx.Response:
        body = {
            "project": "1.1",
            "schema": write_config(labels),
            "hostname": "http://studio",
            "access_token": "of-the-owner",
            **more,
        }
        return self.http.post("/setup", json=body)

    def predict(self, uris: Sequence[Any], labels: Sequence[str] = LABELS) -> httpx.Response:
        tasks = [{"id": n, "data": {"image": uri}} for n, uri in enumerate(uris)]
        config = write_config(labels)
        return self.http.post("/predict", json={"tasks": tasks, "label_config": config})

    def results(self, uris: Sequence[Any]) -> list[Any]:
        response = self.predict(uris)
        assert response.status_code == 200, response.text
        results: list[Any] = response.json()["results"]
        return results


@contextmanager
def serving(
    secrets: Secrets = SECRETS,
    *,
    deadline_s: float = 10.0,
    concurrency: int = 8,
    blind_share: float = 0.0,
) -> Iterator[Stage]:
    """Serve the backend on a free port until the block ends."""
    runtime, queue, hint = FakeRuntime(), FakeQueue(), threading.Event()
    with ThreadPoolExecutor(concurrency) as pool:
        suggestions = Suggestions(
            Model(runtime, "live"),
            QueueImages(IMAGES, queue.read_object, 1000),
            Withheld(queue, QUEUE, blind_share, refresh_s=0),
            pool,
            deadline_s,
        )
        app = make_app(suggestions, secrets, hint)
        with _uvicorn(app) as url, httpx.Client(base_url=url, trust_env=False) as http:
            http.auth = AUTH
            http.follow_redirects = True  # as Label Studio's client does
            yield Stage(http, runtime, queue, hint)


@contextmanager
def _uvicorn(app: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + _START_S
    while not server.started:
        assert time.monotonic() < end
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_START_S)
