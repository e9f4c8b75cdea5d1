"""Factories of tiny images, folders and archives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

WriteTree = Callable[..., Path]


@pytest.fixture
def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, format="JPEG")
    return stream.getvalue()


@pytest.fixture
def write_tree(tmp_path: Path, jpeg: bytes) -> WriteTree:
    """Write files at the paths given, an image into each, and return their folder."""

    def write(*paths: str, folder: str = "data") -> Path:
        for path in paths:
            file = tmp_path / folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg)
        return tmp_path / folder

    return write


@pytest.fixture
def write_zip(tmp_path: Path, jpeg: bytes) -> WriteTree:
    """Write a zip with an image under each name, and return its path."""

    def write(*names: str | zipfile.ZipInfo) -> Path:
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, jpeg)
        return path

    return write
