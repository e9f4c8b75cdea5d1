"""A function's zip: the right files, the same bytes each time, an import that is fast."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from ci.functions import component_of_parameter, pack, upload
from ci.problems import REPOSITORY
from ci.templates import load_templates

FUNCTIONS = ["deploy", "retrain"]


@pytest.mark.parametrize("component", FUNCTIONS)
def test_a_zip_holds_the_component_and_what_it_shares_and_nothing_else(component: str) -> None:
    names = zipfile.ZipFile(io.BytesIO(pack(component, REPOSITORY).data)).namelist()
    assert f"components/{component}/handler.py" in names
    assert "shared/component/operator.py" in names
    folders = {name.rpartition("/")[0].split("/")[1] for name in names}
    assert folders == {component, "component"}
    assert all(name.endswith(".py") and "/tests/" not in name for name in names)


@pytest.mark.parametrize("component", FUNCTIONS)
def test_the_same_code_has_the_same_name(component: str) -> None:
    assert pack(component, REPOSITORY) == pack(component, REPOSITORY)


@pytest.mark.parametrize("component", FUNCTIONS)
def test_the_handler_is_imported_from_the_zip_alone_without_what_lambda_lacks(
    component: str, tmp_path: Path
) -> None:
    zipfile.ZipFile(io.BytesIO(pack(component, REPOSITORY).data)).extractall(tmp_path)
    code = (
        f"import sys, components.{component}.handler as h; "
        "print(sorted({'yaml', 'numpy', 'torch', 'rich', 'moto'} & sys.modules.keys())); "
        "assert callable(h.handle)"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("parameter", "component"),
    [
        ("RetrainCode", "retrain"),
        ("FitDetectorCode", "fit_detector"),
        ("CodeBucket", ""),
        ("X", ""),
    ],
)
def test_a_parameter_names_its_component(parameter: str, component: str) -> None:
    assert component_of_parameter(parameter) == component


def test_every_function_of_the_stacks_is_a_component() -> None:
    named = {
        component_of_parameter(parameter)
        for template in load_templates(REPOSITORY).values()
        for parameter in template.get("Parameters", {})
    } - {""}
    assert named == set(FUNCTIONS)


def test_a_zip_is_uploaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket="artifacts")
        code = pack("retrain", REPOSITORY)
        assert upload(code, client, "artifacts")
        assert not upload(code, client, "artifacts")
        assert client.get_object(Bucket="artifacts", Key=code.key)["Body"].read() == code.data
