"""What the registry is told of the endpoint is what the endpoint takes and gives."""

from __future__ import annotations

import pytest

from shared.pipeline.model_package import CONTENT_TYPES, RESPONSE_TYPES
from shared.vision import payload


def test_the_registered_request_types_are_those_the_endpoint_takes() -> None:
    assert tuple(CONTENT_TYPES) == payload.CONTENT_TYPES


@pytest.mark.parametrize("kind", RESPONSE_TYPES)
def test_every_registered_response_type_is_given(kind: str) -> None:
    assert payload.choose_response_type(kind) == kind


def test_no_other_response_type_is_given() -> None:
    assert payload.choose_response_type("*/*", RESPONSE_TYPES) == "application/json"
    with pytest.raises(payload.NotAcceptable, match=", ".join(RESPONSE_TYPES)):
        payload.choose_response_type("text/csv")
