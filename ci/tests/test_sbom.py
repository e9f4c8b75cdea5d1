"""Bills of material: what an image lists, written so that CycloneDX's schema accepts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ci.engine import Ended
from ci.errors import SbomError
from ci.package_probe import _fields, _license
from ci.problems import REPOSITORY
from ci.sbom import document, probe
from ci.tests.engine_fake import FakeEngine

IMAGE = {"Id": "sha256:" + "c" * 64, "Created": "2026-01-02T03:04:05.678901234Z"}
PACKAGES: dict[str, list[dict[str, Any]]] = {
    "python": [
        {"name": "Wool_Yarn", "version": "1.0", "license": "MIT", "bytes": 1},
        {"name": "horn", "version": "2.0", "license": "", "bytes": 1},
    ],
    "system": [{"kind": "deb", "name": "libc6", "version": "2.36-9+deb12u10", "arch": "amd64"}],
}


def test_every_package_is_named_as_vulnerability_databases_name_it() -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    found = json.loads(document("visionloop/sheep", "tag", IMAGE, PACKAGES))
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["component"]["name"] == "visionloop/sheep"
    assert {part["purl"] for part in found["components"]} == {
        "pkg:pypi/wool-yarn@1.0",
        "pkg:pypi/horn@2.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
    }
    licences = {part["name"]: part.get("licenses") for part in found["components"]}
    assert licences["Wool_Yarn"] == [{"license": {"id": "MIT"}}]
    assert licences["horn"] is None


def test_the_same_image_gives_the_same_bytes() -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    first, second = (document("visionloop/sheep", "tag", IMAGE, PACKAGES) for _ in range(2))
    assert first == second
    assert document("visionloop/sheep", "tag", IMAGE | {"Id": "sha256:0"}, PACKAGES) != first


def test_an_image_that_lists_nothing_is_told(farm: Path) -> None:
    engine: Any = FakeEngine(help=Ended(127, "", "python: not found"))
    with pytest.raises(SbomError, match="sheep:1 does not list its packages: python: not found"):
        probe("sheep:1", engine)


def test_the_probe_needs_nothing_but_python_and_counts_what_files_take() -> None:
    source = (REPOSITORY / "ci/package_probe.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    found = {package["name"].lower(): package for package in json.loads(done.stdout)["python"]}
    assert found["pytest"]["license"] == "MIT"
    assert found["numpy"]["bytes"] > 10_000_000
    system = {package["name"] for package in json.loads(done.stdout)["system"]}
    assert ("libc6" in system) == Path("/var/lib/dpkg/status").is_file()


def test_a_licence_is_a_name_and_never_the_whole_text() -> None:
    from email.message import Message

    def of(**fields: str) -> str:
        message = Message()
        for name, text in fields.items():
            message[name.replace("_", "-")] = text
        return _license(message)

    assert of(License_Expression="MIT", License="other") == "MIT"
    assert of(Classifier="License :: OSI Approved :: BSD License") == "BSD License"
    assert of(License="Apache-2.0") == "Apache-2.0"
    assert of(License="Copyright\nmany lines") == ""


def test_debians_entries_are_read_without_their_continued_lines() -> None:
    entry = "Package: libc6\nStatus: install ok installed\nDescription: x\n more: words\n"
    assert _fields(entry) == {
        "Package": "libc6",
        "Status": "install ok installed",
        "Description": "x",
    }
