"""Secrets are found in every layer of an image, and examples are not taken for secrets."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from ci.layers import secrets_in

# Put together here, so that no file of the repository looks as if it held one.
KEY_ID = "AKIA" + "Q3EGRXW5TYUIOPLK"
PRIVATE_KEY = f"-----BEGIN {'RSA PRIVATE'} KEY-----\n" + "MIIEpAIBAAKCAQEA" * 4 + "\n"


def _image(path: Path, layers: list[dict[str, str]], settings: str = "{}") -> Path:
    """Write an archive as `docker save` does."""
    with tarfile.open(path, "w") as image:
        names = [f"blobs/sha256/{number}" for number in range(len(layers))]
        manifest = [{"Config": "blobs/sha256/config", "Layers": names}]
        _add(image, "manifest.json", json.dumps(manifest).encode())
        _add(image, "blobs/sha256/config", settings.encode())
        for name, files in zip(names, layers, strict=True):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as layer:
                for file, text in files.items():
                    _add(layer, file, text.encode())
            _add(image, name, stream.getvalue())
    return path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("opt/program/.env", "A=1"),
        ("opt/program/.git/config", ""),
        ("root/.netrc", ""),
        ("home/program/.aws/credentials", ""),
        ("root/.docker/config.json", "{}"),
        ("root/.ssh/id_ed25519", ""),
        ("opt/program/settings.py", f"KEY = '{KEY_ID}'"),
        ("opt/program/key.pem", PRIVATE_KEY),
        ("etc/pip.conf", "[global]\nindex-url = https://me:secret@example.com/simple\n"),
        ("opt/program/hub.py", "hf_" + "abcdefghijABCDEFGHIJ0123456789Qrst"),
        (
            "opt/program/a.ini",
            "aws_secret_access_key = " + "wJalrXUtnFEMIK7MDENG/bPxRfiCYzzzzzzzzKEY",
        ),
    ],
)
def test_a_secret_is_found(tmp_path: Path, path: str, text: str) -> None:
    image = _image(tmp_path / "image.tar", [{"bin/sh": ""}, {path: text, "etc/hosts": ""}])
    [secret] = secrets_in(image)
    assert (secret.layer, secret.path) == (1, f"/{path}")


def test_what_a_later_layer_removes_is_still_found(tmp_path: Path) -> None:
    image = _image(tmp_path / "image.tar", [{"opt/.env": "A=1"}, {"opt/.wh..env": ""}])
    assert [secret.layer for secret in secrets_in(image)] == [0]


def test_build_arguments_in_the_history_are_looked_at(tmp_path: Path) -> None:
    history = {"history": [{"created_by": "RUN |1 PIP_INDEX_URL=https://me:secret@example.com/s"}]}
    image = _image(tmp_path / "image.tar", [{}], json.dumps(history))
    [secret] = secrets_in(image)
    assert secret.path == "image settings and history"


def test_the_bases_layers_are_somebody_elses(tmp_path: Path) -> None:
    image = _image(tmp_path / "image.tar", [{"opt/.env": "A=1"}, {"bin/sh": ""}])
    assert list(secrets_in(image, below=1)) == []


def test_keys_that_a_package_publishes_are_known_by_their_place(tmp_path: Path) -> None:
    folder = "usr/local/lib/python3.11/site-packages"
    files = {f"{folder}/future/backports/test/keycert.pem": PRIVATE_KEY}
    assert list(secrets_in(_image(tmp_path / "1.tar", [files]))) == []
    files = {f"{folder}/future/keycert.pem": PRIVATE_KEY}
    assert len(list(secrets_in(_image(tmp_path / "2.tar", [files])))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "AKIA" + "0" * 16,
        "https://index.example/simple",
        f"-----BEGIN {'RSA PRIVATE'} KEY-----\n...\n",
        "index-url = https://index.example/simple",
    ],
)
def test_examples_and_plain_addresses_are_no_secrets(tmp_path: Path, text: str) -> None:
    image = _image(tmp_path / "image.tar", [{"usr/lib/python3/site-packages/doc.py": text}])
    assert list(secrets_in(image)) == []
