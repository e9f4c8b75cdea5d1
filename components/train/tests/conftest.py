"""A platform folder of each test's own, for checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("ml")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(folder))
    return folder
