"""One event without Lambda, as a person tries it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.serverless.tests.events import rest
from shared.vision.bundle import Bundle, pack
from shared.vision.tests.factories import colour_image
from shared.vision.tests.served import make_served_bundle

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_served_bundle(tmp_path_factory.mktemp("bundle"))


def call(bundle: Bundle, *flags: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return start("--model", str(bundle.folder), *flags, text=text)


def start(*flags: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "components.serverless", *flags]
    return subprocess.run(
        command,
        input=text,
        cwd=REPOSITORY,
        env=os.environ | {"SAGEMAKER_BASE_DIR": "/nonexistent"} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_response_alone_is_on_stdout(bundle: Bundle, tmp_path: Path) -> None:
    event = json.dumps(rest(colour_image("red", 4), "image/png"))
    (tmp_path / "event.json").write_text(event)
    for done in (
        call(bundle, "--event", str(tmp_path / "event.json")),
        call(bundle, "--event", "-", text=event),
    ):
        response = json.loads(done.stdout)
        assert (done.returncode, response["statusCode"]) == (0, 200)
        document = json.loads(response["body"])
        assert document["predictions"][0]["label"] == "red"
        assert document["model_version"] == bundle.version


@pytest.mark.parametrize(
    ("flags", "text", "status", "error"),
    [
        ([], "", 2, "error: serverless: no event; pass --event FILE, or - for stdin"),
        (["--event", "-"], "no JSON", 1, "error: serverless: event - is no JSON: "),
        (["--event", "/nonexistent"], "", 1, "error: serverless: No such file or directory: "),
    ],
)
def test_an_event_that_cannot_be_read_ends_with_one_line(
    bundle: Bundle, flags: list[str], text: str, status: int, error: str
) -> None:
    done = call(bundle, *flags, text=text)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(error)
    assert done.stderr.count("\n") == 1


def test_a_model_is_fetched_from_where_its_variable_says(bundle: Bundle, tmp_path: Path) -> None:
    pack(bundle.folder, tmp_path / "s3" / "models" / "7" / "model.tar.gz")
    done = start(
        "--event",
        "-",
        text=json.dumps(rest(colour_image("red", 4), "image/png")),
        VISIONLOOP_S3_ROOT=str(tmp_path / "s3"),
        VISIONLOOP_MODEL_URI="s3://models/7/model.tar.gz",
        VISIONLOOP_MODEL_VERSION="7",
        TMPDIR=str(tmp_path),
    )
    document = json.loads(json.loads(done.stdout)["body"])
    assert (document["predictions"][0]["label"], document["model_version"]) == ("red", "7")
    assert [path.name for path in tmp_path.iterdir()] == ["s3"], "nothing is left behind"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "serverless: no model; set VISIONLOOP_MODEL_URI to s3://BUCKET/KEY, or pass --model"),
        ("s3://models/none", "storage: cannot read s3://models/none: No such file"),
    ],
)
def test_a_model_that_is_nowhere_ends_with_one_line(tmp_path: Path, uri: str, said: str) -> None:
    environ = {"VISIONLOOP_S3_ROOT": str(tmp_path), "VISIONLOOP_MODEL_URI": uri}
    done = start("--event", "-", text="{}", **environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_missing_model_is_said_before_an_event_is_waited_for() -> None:
    child = start("--event", "-", text="")
    assert child.returncode == 1
    assert child.stderr.splitlines()[-1].startswith("error: serverless: no model;")
