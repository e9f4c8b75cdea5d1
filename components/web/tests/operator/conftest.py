"""A laptop's S3 of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.component.storage import S3_ROOT_VARIABLE


@pytest.fixture
def s3_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands for S3."""
    root = tmp_path / "s3"
    monkeypatch.setenv(S3_ROOT_VARIABLE, str(root))
    return root
