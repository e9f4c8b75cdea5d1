"""The house's fixed points, by reading the code: who imports whom, sizes, what is nowhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ci.problems import REPOSITORY, component_folders

COMPONENTS = [folder.name for folder in component_folders(REPOSITORY)]
LEFT_OUT = {".git", ".venv", ".venv-peers", ".venv-tools", ".visionloop", "__pycache__", "build"}
HOST = {"shared.pipeline", "ci", "pipeline", "tests"}


def _files(suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        path
        for top in REPOSITORY.iterdir()
        if top.name not in LEFT_OUT and not top.name.endswith("_cache")
        for path in ([top] if top.is_file() else top.rglob("*"))
        if (path.suffix in suffixes or path.name in suffixes)
        and not LEFT_OUT & set(path.relative_to(REPOSITORY).parts)
    )


ALL_CODE = _files((".py",))
SHIPPED = [path for path in ALL_CODE if "tests" not in path.relative_to(REPOSITORY).parts]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _imports(path: Path) -> set[str]:
    """Return every module a file imports, at any depth; `from a import b` is a and a.b."""
    modules: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            modules |= {f"{node.module}", *(f"{node.module}.{a.name}" for a in node.names)}
    return modules


def _importers(module: str) -> set[str]:
    return {_name(p) for p in SHIPPED if any(m.split(".")[0] == module for m in _imports(p))}


def _below(folder: str, files: list[Path]) -> Iterator[Path]:
    return (path for path in files if path.is_relative_to(REPOSITORY / folder))


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _is_within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_imports_neither_another_nor_the_host(name: str) -> None:
    others = {f"components.{other}" for other in COMPONENTS if other != name}
    for path in _below(f"components/{name}", ALL_CODE):
        wrong = {m for m in _imports(path) if _is_within(m, others | HOST)}
        assert not wrong, _name(path)


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("shared/component", {"components", "shared.vision", *HOST}),
        ("shared/vision", {"components", *HOST}),
        ("shared/pipeline", {"components", "shared.vision", "ci", "pipeline", "tests"}),
    ],
)
def test_shared_packages_import_downwards_only(folder: str, forbidden: set[str]) -> None:
    for path in _below(folder, SHIPPED):
        assert not {m for m in _imports(path) if _is_within(m, forbidden)}, _name(path)


def test_pipeline_imports_shared_pipeline_only() -> None:
    modules = _imports(REPOSITORY / "pipeline.py") - {"__future__", "__future__.annotations"}
    assert {m for m in modules if not _is_within(m, {"shared.pipeline", "shared"})} == set()
    assert not {m for m in modules if _is_within(m, {"shared.vision", "shared.component"})}


@pytest.mark.parametrize(("module", "most"), [("sagemaker", 1), ("docker", 2)])
def test_a_heavy_or_encumbered_library_stays_behind_few_files(module: str, most: int) -> None:
    assert len(_importers(module)) <= most, _importers(module)


def test_onnxruntime_is_opened_where_its_reports_to_its_maker_are_switched_off() -> None:
    by_type_alone = {"components/train/export_onnx.py"}
    assert _importers("onnxruntime") - by_type_alone == {"shared/vision/engines.py"}


def test_alibi_detect_is_imported_by_the_drift_module_alone() -> None:
    """By its name in a string, since import_alone takes one."""
    assert _importers("alibi_detect") == set()
    named = {
        _name(path)
        for path in SHIPPED
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant) and re.match(r"alibi_detect\b", str(node.value))
    }
    assert named == {"shared/vision/drift.py"}


def test_no_client_is_made_at_import() -> None:
    for path in SHIPPED:
        for statement in _tree(path).body:
            if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                called = {name for name, _ in _calls(statement)}
                made = {name for name in called if name.startswith(("boto3.", "sagemaker."))}
                assert not made, _name(path)


def test_nothing_is_pickled_or_unpickled() -> None:
    picklers = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
    named = {"pickle", "pickle.UnpicklingError"}  # an error may be caught by its name
    # An optimizer's state has no other format, and is read with weights_only.
    checkpoints = {"components/train/checkpoints.py"}
    for path in SHIPPED:
        assert not {m for m in _imports(path) - named if _is_within(m, picklers)}, _name(path)
        for name, call in _calls(_tree(path)):
            assert not _is_within(name, picklers), _name(path)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert name != "torch.save" or _name(path) in checkpoints, _name(path)
            assert name != "torch.load" or given.get("weights_only") == "True", _name(path)
            assert given.get("allow_pickle", "False") == "False", _name(path)


def test_functions_and_modules_stay_small() -> None:
    sizes = {_name(path): len(path.read_text().splitlines()) for path in ALL_CODE}
    assert {name: lines for name, lines in sizes.items() if lines > 400} == {}
    assert sizes["pipeline.py"] < 280  # two graphs on one page: the main one and the search
    functions = {
        f"{_name(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in ALL_CODE
        for node in ast.walk(_tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: lines for name, lines in functions.items() if lines > 50} == {}


def test_no_module_is_named_for_nothing() -> None:
    assert not {p.stem for p in ALL_CODE} & {"utils", "helpers", "common", "misc", "util", "v2"}


def test_classes_of_a_data_set_are_read_and_never_written() -> None:
    sample = REPOSITORY / "components/fetch_data"  # the generated sample has to draw something
    for path in SHIPPED:
        if path.is_relative_to(sample):
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in ("mountain", "sea", "street"), _name(path)
                assert not re.search(r"\b(buildings|forest|glacier)\b", node.value), _name(path)


def test_no_account_person_or_machine_is_named() -> None:
    kinds = (".py", ".md", ".yaml", ".yml", ".toml", ".json", ".in", "Makefile", "Dockerfile")
    for path in _files(kinds):
        text = path.read_text()
        accounts = set(re.findall(r"(?<![0-9A-Za-z.])\d{12}(?![0-9A-Za-z])", text))
        assert accounts <= {"000000000000", "123456789012", "111122223333"}, _name(path)
        people = set(re.findall(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", text))
        assert {p for p in people if not p.endswith("@example.com")} == set(), _name(path)
        assert not re.findall(r"(?<![\w.])/(?:home|Users|root|work)/\w+", text), _name(path)
        assert not re.findall(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY", text), _name(path)
