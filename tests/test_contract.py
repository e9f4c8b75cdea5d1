"""One contract: every component's code, command line and log agree with its component.yaml."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from ci.problems import REPOSITORY, component_folders
from shared.component.errors import UsageError
from shared.component.layout import Layout
from shared.component.port import Port
from shared.component.runtime import resolve
from shared.component.spec import ComponentSpec, load_spec

FOLDERS = list(component_folders(REPOSITORY))
ANNOTATIONS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
SLOW_IMPORTS = ("torch", "lightning", "numpy", "sagemaker", "boto3", "botocore", "PIL", "pandas")

every_component = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@every_component
def test_run_takes_the_declared_ports_and_nothing_else(folder: Path) -> None:
    spec, run = load_spec(folder), _run_of(folder)
    arguments = run.args
    assert [arguments.posonlyargs, arguments.args, arguments.vararg, arguments.kwarg] == [
        [],
        [],
        None,
        None,
    ]
    assert arguments.kw_defaults == [None] * len(arguments.kwonlyargs), "defaults: component.yaml"
    assert {a.arg: ast.unparse(a.annotation) for a in arguments.kwonlyargs if a.annotation} == {
        name: _annotation(port) for name, port in {**spec.inputs, **spec.outputs}.items()
    }
    assert run.returns is not None
    assert ast.unparse(run.returns) == "None"


@every_component
def test_scraped_metrics_are_named_in_the_code_and_found_in_a_line(folder: Path) -> None:
    strings = " ".join(_strings(folder))
    for name, pattern in load_spec(folder).metrics.items():
        assert re.search(rf"\b{name}\b", strings), f"{name} is logged nowhere in {folder.name}"
        found = re.search(pattern, f"12:00:00 INFO x: other=1 {name}=0.8125 last=2")
        assert found is not None
        assert found[1].startswith("0"), f"{pattern} does not find the value"


@every_component
def test_help_lists_every_port_and_imports_nothing_slow(folder: Path) -> None:
    script = (
        "import json, runpy, sys, time\n"
        f"sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_module('components.{folder.name}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(json.dumps([end.code, time.process_time(), list(sys.modules)]))\n"
    )
    child = _python("-c", script)
    *text, facts = child.stdout.splitlines()
    status, cpu_s, modules = json.loads(facts)
    assert status == 0
    assert not set(SLOW_IMPORTS) & set(modules)
    assert cpu_s < 1  # processor time, so that a busy machine fails nobody
    spec = load_spec(folder)
    for port in (*spec.inputs.values(), *spec.outputs.values()):
        assert f"{port.flag} " in "\n".join(text)


@every_component
def test_an_impossible_parameter_ends_with_status_2_and_one_line(
    folder: Path, tmp_path: Path
) -> None:
    spec = load_spec(folder)
    port = _limited(spec)
    child = _python(
        "-m", f"components.{spec.name}", *_artifact_flags(spec, tmp_path), port.flag, "plenty"
    )
    assert child.returncode == 2
    assert child.stderr == f"error: {spec.name}: {_refusal(port)}\n"


@every_component
def test_what_serves_takes_parameters_from_variables_and_a_job_does_not(
    folder: Path, tmp_path: Path
) -> None:
    spec = load_spec(folder)
    port = _limited(spec)
    values = {p.name: "1" for p in spec.parameters.values() if p.is_required}
    environ = {port.variable: "plenty"}
    said = f"^{re.escape(f'{spec.name}: {_refusal(port)}')}$"
    is_refused = pytest.raises(UsageError, match=said) if spec.is_serving else nullcontext()
    with is_refused:
        resolve(spec, values | _artifacts(spec, tmp_path), Layout(tmp_path / "none"), environ)


@every_component
def test_a_job_writes_artifacts_and_what_serves_answers_instead(folder: Path) -> None:
    spec = load_spec(folder)
    if spec.is_serving:
        assert (dict(spec.outputs), dict(spec.metrics)) == ({}, {})
        assert [port.type for port in spec.artifacts.values()] in ([], ["Model"])
        assert all(port.default is not None for port in spec.parameters.values()), (
            "a platform that starts it passes no flags"
        )
    else:
        assert spec.outputs


@every_component
def test_a_missing_input_ends_with_status_1_and_says_what_where_and_remedy(
    folder: Path, tmp_path: Path
) -> None:
    spec, missing = load_spec(folder), tmp_path / "missing"
    port = next(iter((spec.artifacts or spec.inputs).values()))
    flags = [*_artifact_flags(spec, tmp_path), port.flag, str(missing)]
    child = _python("-m", f"components.{spec.name}", *flags, cwd=tmp_path)
    (line,) = [line for line in child.stderr.splitlines() if line.startswith("error: ")]
    assert child.returncode == 1
    assert str(missing) in line
    assert "; " in line, "no remedy"
    assert "Traceback" not in child.stderr


def _run_of(folder: Path) -> ast.FunctionDef:
    tree = ast.parse((folder / "component.py").read_text())
    (run,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    return run


def _annotation(port: Port) -> str:
    if port.is_artifact:
        return "Path | None" if port.is_optional else "Path"
    return ANNOTATIONS[port.type]


def _is_limited(port: Port) -> bool:
    return port.type in ("integer", "number") or bool(port.enum)


def _limited(spec: ComponentSpec) -> Port:
    """Return a parameter that not every text is a value of."""
    return next(port for port in spec.parameters.values() if _is_limited(port))


def _refusal(port: Port) -> str:
    """Return what is said of a value that the parameter cannot have."""
    if port.type in ("integer", "number"):
        article = "a whole number" if port.type == "integer" else "a number"
        return f"parameter '{port.name}' takes {article}, not 'plenty'"
    return f"parameter '{port.name}' is 'plenty'; choose one of {', '.join(map(str, port.enum))}"


def _strings(folder: Path) -> list[str]:
    nodes = (n for path in folder.glob("*.py") for n in ast.walk(ast.parse(path.read_text())))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _artifact_flags(spec: ComponentSpec, tmp_path: Path) -> list[str]:
    ports = {**spec.artifacts, **spec.outputs}
    made = _artifacts(spec, tmp_path)
    return [word for name, place in made.items() for word in (ports[name].flag, place)]


def _artifacts(spec: ComponentSpec, tmp_path: Path) -> dict[str, str]:
    """Make a folder with something in it for every artifact."""
    made = {name: tmp_path / name for name in (*spec.artifacts, *spec.outputs)}
    for folder in made.values():
        folder.mkdir()
        (folder / "something").touch()
    return {name: str(folder) for name, folder in made.items()}


def _python(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY), "SAGEMAKER_BASE_DIR": "/nonexistent"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
