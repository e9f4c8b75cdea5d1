"""A repository of tiny components with the real component.yaml files, run for real."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import pipeline
from shared.pipeline import cli
from shared.pipeline.backends.local import LocalBackend
from shared.pipeline.search_space import DEFAULT_SPACE
from shared.pipeline.settings import REPOSITORY, Settings

FAKES = Path(__file__).parent / "fakes"
COMPONENTS = (
    "fetch_data",
    "preprocess",
    "train",
    "evaluate",
    "explain",
    "fit_detector",
    "register",
    "tune",
)


@dataclass(frozen=True)
class Workshop:
    """A repository of fakes and a home of its own."""

    root: Path
    home: Path
    environ: dict[str, str]

    @property
    def settings(self) -> Settings:
        return Settings.from_environ(self.environ, self.root)

    @property
    def backend(self) -> LocalBackend:
        return LocalBackend(self.settings, environ=self.environ)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the command line; return its exit status and what it printed."""
        out = io.StringIO()
        build = pipeline.build
        search = pipeline.build_search
        status = cli.main(build, list(arguments), self.environ, self.root, out, search)
        return status, out.getvalue()

    def start(self, *arguments: str) -> tuple[int, str]:
        return self.run("--upsert", "--start", "--backend", "local", *arguments)

    def tune(self, *arguments: str) -> tuple[int, str]:
        return self.run("--tune", "--backend", "local", *arguments)

    def steps(self, name: str = "visionloop") -> dict[str, str]:
        """Return the states of the last execution's steps; `cached` for a cache hit."""
        execution = self.backend.list(name)[0]
        return {
            step.name: "cached" if step.cached_from else step.status
            for step in execution.steps.values()
        }


def make_workshop(place: Path) -> Workshop:
    """Lay out a workshop below a folder."""
    root = place / "repository"
    for name in COMPONENTS:
        folder = root / "components" / name
        folder.mkdir(parents=True)
        shutil.copy(REPOSITORY / "components" / name / "component.yaml", folder)
        shutil.copy(REPOSITORY / "components" / name / "__main__.py", folder)
        shutil.copy(FAKES / f"{name}.py", folder / "component.py")
        (folder / "__init__.py").write_text('"""A fake."""\n')
    shutil.copy(REPOSITORY / DEFAULT_SPACE, root / DEFAULT_SPACE)
    (root / "shared").symlink_to(REPOSITORY / "shared")
    (root / "containers").symlink_to(REPOSITORY / "containers")
    home = place / "home"
    environ = {"PATH": os.environ["PATH"], "VISIONLOOP_HOME": str(home)}
    return Workshop(root, home, environ)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return make_workshop(tmp_path)


@pytest.fixture
def settings() -> Settings:
    return Settings()


@pytest.fixture
def build() -> Callable[[Settings, str], object]:
    return pipeline.build
