"""Serverless: a model bundle in, a Lambda function out; without Lambda, one event answered.

The model is loaded and proven on its golden images before the first event is asked for:
in Lambda's init phase, where a failure is one of the function and not of a request.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.serverless.handler import HANDLER
from shared.component.errors import InputError, UsageError, VisionloopError
from shared.component.objects import ObjectReader
from shared.vision.bundle import ARCHIVE, open_bundle
from shared.vision.golden import check_golden, read_golden
from shared.vision.payload import S3Images
from shared.vision.predictor import Predictor
from shared.vision.service import PredictionService

log = logging.getLogger(__name__)
_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"  # host:port, set by Lambda
# Archive and bundle lie in the function's /tmp together; the stack deploy asks for 2 GB of it.
_MOST_MODEL_BYTES = 800_000_000
_HANDLER = "components.serverless.handler.HANDLER"  # awslambdaric takes names only


def run(
    *,
    model: Path | None,
    model_uri: str,
    engine: str,
    model_version: str,
    allowed_buckets: str,
    event: str,
) -> None:
    """Answer Lambda's events until it stops asking, or the one event given.

    Raises:
        UsageError: neither Lambda asks nor an event is given.
        InputError: the event is no JSON, or there is no model.
        StorageError: nothing is at model_uri, or it may not be read.
        BundleError: the bundle is damaged, or answers otherwise than its golden images say.
    """
    address = os.environ.get(_RUNTIME_API)
    if address:
        _serve_lambda(address, model, model_uri, engine, model_version, allowed_buckets)
        return
    if not event:
        raise UsageError("serverless: no event; pass --event FILE, or - for stdin")
    _require_model(model, model_uri)  # before stdin is waited for
    given = _read_event(event)
    HANDLER.service = load(model, model_uri, engine, model_version, allowed_buckets)
    sys.stdout.write(json.dumps(HANDLER(given, None)) + "\n")


def load(
    model: Path | None, model_uri: str, engine: str, model_version: str, allowed_buckets: str
) -> PredictionService:
    """Return the model's service, its answers to the golden images proven.

    Raises:
        InputError: there is no model.
        StorageError: nothing is at model_uri, or it may not be read.
        BundleError: the bundle is damaged, or answers otherwise than it says.
    """
    buckets = tuple(name.strip() for name in allowed_buckets.split(",") if name.strip())
    with _at_hand(model, model_uri) as path, open_bundle(path) as bundle:
        # Lambda gives a core for each 1,769 MB: more threads would only wait for one another.
        predictor = Predictor(bundle, engine=engine, threads=1, is_frozen=True)
        golden = read_golden(bundle)
        check_golden(golden, lambda data: predictor.predict([data]).probabilities[0])
        version = model_version or bundle.version
    log.info("%s engine, version %s, %d golden images", predictor.engine.name, version, len(golden))
    return PredictionService(predictor, version, S3Images(buckets, ObjectReader()))


def _require_model(model: Path | None, model_uri: str) -> None:
    if model is None and not model_uri:
        raise InputError(
            "serverless: no model; set VISIONLOOP_MODEL_URI to s3://BUCKET/KEY, or pass --model"
        )


@contextmanager
def _at_hand(model: Path | None, model_uri: str) -> Iterator[Path]:
    """Give the path of the model, fetched where it lies on S3."""
    _require_model(model, model_uri)
    if model is not None and not model_uri:
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="model-") as folder:  # /tmp, all that Lambda can write
        archive = Path(folder) / ARCHIVE
        archive.write_bytes(ObjectReader()(model_uri, _MOST_MODEL_BYTES))
        yield archive


def _serve_lambda(address: str, *arguments: Any) -> None:
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    client = LambdaRuntimeClient(address)
    try:
        HANDLER.service = load(*arguments)
    except VisionloopError as err:
        # Lambda shows this as the reason why the function does not start.
        reason = {"errorMessage": str(err), "errorType": type(err).__name__, "stackTrace": []}
        client.post_init_error(reason)
        raise
    logging.getLogger().handlers.clear()  # awslambdaric brings its own: each line once
    bootstrap.run(_HANDLER, client)


def _read_event(place: str) -> Any:
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text()
        return json.loads(text)
    except ValueError as err:  # also: no UTF-8
        raise InputError(f"serverless: event {place} is no JSON: {err}; pass --event FILE") from err
