"""What the endpoint says, and what becomes of an answer that cannot be one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from components.labeling.errors import EndpointAwayError, NoSuggestionError
from components.labeling.model import Model
from components.labeling.tests.backend import FakeRuntime, model_error

GOOD = {"label": "cat", "confidence": 0.75, "probabilities": {"cat": 0.75, "dog": 0.25}}


class _Saying:
    """An endpoint that says this of every image."""

    def __init__(self, *predictions: Any, **more: Any) -> None:
        self._body = {"model_version": "7", "predictions": list(predictions), **more}

    def invoke_endpoint(self, **_: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(json.dumps(self._body).encode())}


def test_an_answer_keeps_the_models_order() -> None:
    answer = Model(_Saying(GOOD), "live").ask(b"")
    assert (answer.label, answer.labels, answer.probabilities) == (
        "cat",
        ("cat", "dog"),
        (0.75, 0.25),
    )


@pytest.mark.parametrize(
    "predictions",
    [
        [],
        [GOOD, GOOD],
        [None],
        [GOOD | {"confidence": 1.5}],
        [GOOD | {"confidence": -0.1}],
        [GOOD | {"confidence": float("nan")}],
        [GOOD | {"label": "horse"}],
        [GOOD | {"probabilities": [0.75, 0.25]}],
    ],
)
def test_an_answer_that_cannot_be_one_is_no_suggestion(predictions: list[Any]) -> None:
    """Label Studio would store it as it is, and order people's work by it."""
    with pytest.raises(NoSuggestionError) as refused:
        Model(_Saying(*predictions), "live").ask(b"")
    assert refused.value.reason == "odd"


def test_a_model_that_is_overloaded_is_away_and_one_that_fails_on_an_image_is_not() -> None:
    runtime = FakeRuntime()
    for status, expected in ((503, EndpointAwayError), (500, NoSuggestionError)):

        def fail(_: bytes, status: int = status) -> None:
            raise model_error(status)

        runtime.before = fail
        with pytest.raises(expected):
            Model(runtime, "live").ask(b"dog 0.9")
