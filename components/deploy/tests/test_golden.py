"""Golden images out of a model.tar.gz, and answers held against them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.deploy import golden
from components.deploy.errors import SmokeTestError
from components.deploy.golden import (
    Golden,
    check_golden,
    instances_of,
    prediction_in,
    read_golden,
)
from components.deploy.tests.stage import CLASSES, GOLDEN, pack_files, pack_model, sound
from shared.vision.bundle import open_bundle, pack
from shared.vision.golden import TOLERANCE
from shared.vision.golden import read_golden as read_golden_of_bundle
from shared.vision.tests.served import make_served_bundle


def read(archive: bytes) -> list[Golden]:
    return read_golden(io.BytesIO(archive), "s3://bucket/model.tar.gz")


def test_images_and_answers_come_in_the_models_order() -> None:
    images = read(pack_model())
    assert [image.data for image in images] == list(GOLDEN)
    assert [list(image.probabilities) for image in images] == [list(CLASSES)] * 2
    assert images[0].label == "b"


def test_a_bundle_is_read_as_the_inference_image_reads_it(tmp_path: Path) -> None:
    make_served_bundle(tmp_path / "bundle")
    pack(tmp_path / "bundle", tmp_path / "model.tar.gz")
    mine = read((tmp_path / "model.tar.gz").read_bytes())
    with open_bundle(tmp_path / "model.tar.gz") as bundle:
        theirs, classes = read_golden_of_bundle(bundle), bundle.info.classes
    assert [(g.name, g.data, g.label, tuple(g.probabilities.values())) for g in mine] == [
        (g.name, g.data, g.label, g.probabilities) for g in theirs
    ]
    assert tuple(mine[0].probabilities) == classes
    assert golden.TOLERANCE == TOLERANCE


def test_no_more_is_read_than_the_images() -> None:
    index = json.dumps({"classes": [], "images": [{"file": "0", "label": "", "probabilities": []}]})
    model = os.urandom(1_000_000)
    stream = io.BytesIO(
        pack_files({"golden/0": b"x", "golden/golden.json": index.encode(), "model.ts": model})
    )
    assert [image.data for image in read_golden(stream, "x")] == [b"x"]
    assert stream.tell() < 100_000


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"no archive", "cannot read s3://bucket/model.tar.gz"),
        (pack_model()[:200], "cannot read"),
        (pack_files({"model.ts": b"x"}), "no golden images in s3://bucket"),
        (pack_model({}), "no golden images"),
        (pack_files({"golden/golden.json": b"{"}), "cannot read"),
        (pack_files({"golden/golden.json": b'{"images": [{"file": "a"}]}'}), "cannot read"),
    ],
)
def test_an_archive_without_golden_images_is_refused(archive: bytes, said: str) -> None:
    with pytest.raises(SmokeTestError, match=f"{said}.*register the model again"):
        read(archive)


def test_images_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "_MOST_BYTES", 30)
    with pytest.raises(SmokeTestError, match="more than 30 bytes"):
        read(pack_model())


def test_right_answers_give_the_largest_difference() -> None:
    def ask(image: bytes) -> dict[str, Any]:
        said = sound(image)
        shifted = {name: value + 5e-4 for name, value in said["probabilities"].items()}
        return said | {"probabilities": shifted}

    assert check_golden(read(pack_model()), ask) == pytest.approx(5e-4)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        ({"label": "a"}, "got 'a'"),
        ({"probabilities": {"b": 0.702, "a": 0.198, "c": 0.1}}, "got 'b' b 0.7020"),
        ({"probabilities": {"a": 0.2, "b": 0.7, "c": 0.1}}, r"classes \['a', 'b', 'c'\]"),
        ({"probabilities": {"b": 0.7, "a": float("nan"), "c": 0.1}}, "a nan"),
        ({"probabilities": {"b": "0.7", "a": 0.2, "c": 0.1}}, "no numbers"),
        ({"probabilities": None}, r"classes \[\]"),
    ],
)
def test_an_error_names_image_expected_and_got(answer: dict[str, Any], got: str) -> None:
    with pytest.raises(SmokeTestError, match=r"image 0\.png: expected 'b' b 0\.7000.*" + got):
        check_golden(read(pack_model()), lambda image: sound(image) | answer)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"predictions": []}', b'{"error": "BadRequest", "status": 400}']
)
def test_an_answer_of_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(SmokeTestError, match="function f answers otherwise"):
        prediction_in(body, "function f")


def test_a_request_is_what_the_endpoint_reads() -> None:
    assert instances_of(b"image") == {"instances": [{"b64": "aW1hZ2U="}]}
