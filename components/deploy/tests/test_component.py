"""The command line, the settings and the weight of the import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from components.deploy.settings import Settings
from components.deploy.tests.stage import make_settings
from shared.component.errors import UsageError
from shared.component.spec import load_spec

FOLDER = Path(__file__).parents[1]
REPOSITORY = FOLDER.parents[1]


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    known = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environ
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=known,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_settings_are_the_declared_inputs() -> None:
    spec = load_spec(FOLDER)
    types = {"str": "string", "int": "integer"}
    assert {f.name: types[str(f.type)] for f in fields(Settings)} == {
        name: port.type for name, port in spec.inputs.items() if name != "event"
    }


def test_settings_come_from_the_functions_variables() -> None:
    given = make_settings("lambda")
    spec = load_spec(FOLDER)
    environ = {spec.inputs[f.name].variable: str(getattr(given, f.name)) for f in fields(given)}
    assert Settings.from_environ(environ) == given
    with pytest.raises(UsageError, match=r"VISIONLOOP_STAGE.*deploy\.yaml"):
        Settings.from_environ({k: v for k, v in environ.items() if k != "VISIONLOOP_STAGE"})
    with pytest.raises(UsageError, match="canary_s is 'x'; give a whole number"):
        Settings.from_environ(environ | {"VISIONLOOP_CANARY_S": "x"})


@pytest.mark.parametrize("image", ["", "repository:latest", "repository@sha256:abc"])
def test_an_image_without_a_digest_is_refused_where_it_would_serve(image: str) -> None:
    with pytest.raises(UsageError, match="names no digest"):
        make_settings("lambda", predict_image=image)
    make_settings("serverless", predict_image=image)


def test_an_event_can_be_answered_by_hand(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"Records": []}))
    region = {"AWS_DEFAULT_REGION": "us-east-1"}
    done = python("-m", "components.deploy", "--event", str(event), **region)
    assert (done.returncode, done.stdout) == (0, '{"batchItemFailures": []}\n')


@pytest.mark.parametrize(
    ("text", "flags", "status", "said"),
    [
        (None, [], 2, "no event; pass --event FILE"),
        ("{", [], 1, "cannot read event"),
        ("[]", [], 1, "is no JSON object; pass --event FILE"),
        ("{}", ["--target", "lambda"], 2, "names no digest"),
        ('{"x": 1}', [], 1, "an event with x in it"),
    ],
)
def test_what_cannot_be_answered_ends_with_one_line(
    tmp_path: Path, text: str | None, flags: list[str], status: int, said: str
) -> None:
    event = tmp_path / "event.json"
    if text is not None:
        event.write_text(text)
        flags = [*flags, "--event", str(event)]
    done = python("-m", "components.deploy", *flags, AWS_DEFAULT_REGION="us-east-1")
    assert done.returncode == status
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "Traceback" not in done.stderr


def test_the_handler_is_imported_in_a_blink_and_without_what_a_zip_lacks() -> None:
    script = (
        "import json, sys, time\n"
        "begun = time.process_time()\n"
        "import components.deploy.handler\n"
        "print(json.dumps([time.process_time() - begun, list(sys.modules)]))\n"
    )
    done = python("-c", script)
    cpu_s, modules = json.loads(done.stdout)
    roots: set[Any] = {name.partition(".")[0] for name in modules}
    assert cpu_s < 0.4
    assert not roots & {"yaml", "rich", "numpy", "boto3"}
    print(f"import_s={cpu_s:.3f}")  # noqa: T201 - a figure, with -s
