"""An image is a subset of the repository: each component works with only its own part of it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ci.problems import REPOSITORY, component_folders
from shared.component.spec import load_spec

NAMES = [folder.name for folder in component_folders(REPOSITORY)]
IMPORT_ALL = """
import importlib, pathlib
for path in sorted(pathlib.Path("components/{name}").glob("*.py")):
    if path.stem not in ("__main__", "__init__"):
        module = importlib.import_module(f"components.{name}.{{path.stem}}")
        assert module.__file__.startswith(str(pathlib.Path.cwd())), module.__file__
"""


@pytest.fixture
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What the image of the component named by the parameter holds at /opt/program."""
    name: str = request.param
    folder = REPOSITORY / "components" / name
    for listed in (*load_spec(folder).container.context, f"components/{name}"):
        source, target = REPOSITORY / listed, tmp_path / listed
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        else:
            left_out = shutil.ignore_patterns("tests", "__pycache__", "README.md")
            shutil.copytree(source, target, ignore=left_out)
    return tmp_path


@pytest.mark.parametrize(("image", "name"), [(n, n) for n in NAMES], ids=NAMES, indirect=["image"])
def test_a_component_explains_itself_and_imports_without_the_others(image: Path, name: str) -> None:
    shown = _python(image, "-m", f"components.{name}", "--help")
    assert shown.returncode == 0, shown.stderr
    imported = _python(image, "-W", "ignore", "-c", IMPORT_ALL.format(name=name))
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_image_installs_what_its_code_imports(name: str) -> None:
    lock = (REPOSITORY / "components" / name / "requirements.txt").read_text()
    installed = {_normal(project) for project in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    providers = packages_distributions()
    for module, importer in _third_party(name):
        projects = {_normal(project) for project in providers.get(module, [module])}
        assert projects & installed, f"{importer} imports {module}; add it to requirements.in"


def _third_party(name: str) -> Iterator[tuple[str, str]]:
    """Yield what is imported, following shared modules from the component's own files."""
    waiting = list((REPOSITORY / "components" / name).glob("*.py"))
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in _imports(path):
            top = module.split(".")[0]
            if top == "shared":
                file = REPOSITORY / (module.replace(".", "/") + ".py")
                waiting += [file] if file.is_file() else []
            elif top not in sys.stdlib_module_names and top != "components":
                yield top, str(path.relative_to(REPOSITORY))


def _imports(path: Path) -> Iterator[str]:
    """Yield imported modules; of shared code those at import only: the rest not all need."""
    tree = ast.parse(path.read_text())
    is_shared = path.is_relative_to(REPOSITORY / "shared")
    for node in tree.body if is_shared else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _normal(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


def _python(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
