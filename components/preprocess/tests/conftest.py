"""Runs of preprocess on raw folders under construction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.preprocess.component import run
from components.preprocess.tests.factories import DEFAULTS, RawFolder


@pytest.fixture
def raw(tmp_path: Path) -> RawFolder:
    return RawFolder(tmp_path / "raw")


@pytest.fixture
def preprocess(raw: RawFolder, tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Run preprocess on `raw` and return the output folder and report.json."""

    def call(name: str = "out", **changes: Any) -> tuple[Path, dict[str, Any]]:
        out = tmp_path / name
        outputs = {port: out / port for port in ("dataset", "frozen", "report")}
        for folder in outputs.values():
            folder.mkdir(parents=True, exist_ok=True)
        run(raw=raw.folder, **(DEFAULTS | changes), **outputs)
        report = out / "report" / "report.json"
        return out, json.loads(report.read_text()) if report.exists() else {}

    return call
