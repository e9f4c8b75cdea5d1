"""Component folders for tests of the spec and the runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.component.tests.factories import DECLARATION, MakeFolder


@pytest.fixture
def component(tmp_path: Path) -> MakeFolder:
    """Make a component folder: component(kind=...), or component(text=...) as it is."""

    def make(text: str = DECLARATION, name: str = "sheep", kind: str = "processing") -> Path:
        folder = tmp_path / "components" / name
        folder.mkdir(parents=True)
        filled = text.format(name=name, kind=kind) if text is DECLARATION else text
        (folder / "component.yaml").write_text(filled)
        return folder

    return make
