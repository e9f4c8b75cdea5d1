"""The manifest: the same labels, the same bytes; what is none is refused by name."""

from __future__ import annotations

import json

import pytest

from shared.component.annotation_manifest import (
    Current,
    Label,
    Manifest,
    fingerprint,
    read_current,
    read_manifest,
)
from shared.component.errors import InputError

FIRST = Label("a" * 64, "s3://b/1.jpg", "sea", ("1", "2"), ("3", "4"), "majority")
SECOND = Label("b" * 64, "s3://b/2.jpg", 'a "b"\n\u2028', ("1",), ("5",), "single")
MANIFEST = Manifest("s3://data/annotations", {"min_alpha": 0.667}, (FIRST, SECOND))


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert read_manifest(MANIFEST.encode(), "x") == MANIFEST


def test_the_order_of_labels_changes_no_byte() -> None:
    turned = Manifest(MANIFEST.source, MANIFEST.rules, (SECOND, FIRST))
    assert fingerprint(turned.encode()) == fingerprint(MANIFEST.encode())


def test_a_manifest_is_plain_json_an_image_a_line() -> None:
    data = MANIFEST.encode()
    assert json.loads(data)["labels"][0]["sha256"] == FIRST.sha256
    assert len(data.splitlines()) == 4
    empty = Manifest("s", {}).encode()
    assert read_manifest(empty, "x").labels == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"kind": "annotation-manifest", "schema": 2}',
        b'{"kind": "annotation-manifest", "schema": 1, "source": "s", "rules": {}, "labels": [1]}',
        b'{"kind": "annotation-manifest", "schema": 1, "source": "", "rules": {}, "labels": [{}]}',
    ],
)
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InputError, match="here is no annotation manifest"):
        read_manifest(data, "here")


def test_current_is_read_as_it_was_written() -> None:
    current = Current("c" * 64, 7)
    assert read_current(current.encode(), "x") == current
    assert json.loads(current.encode())["manifest"] == f"{'c' * 64}.json"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schema": 1}', b'{"schema": 3}'])
def test_a_damaged_current_is_refused_with_a_remedy(data: bytes) -> None:
    with pytest.raises(InputError, match="the next merge writes it anew"):
        read_current(data, "here")
