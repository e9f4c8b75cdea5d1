"""`python -m ci check` finds what it says it finds, on a small house of one component."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.check import find_problems, main
from ci.problems import REPOSITORY

HASH = "--hash=sha256:" + "0" * 64
FILES = {
    "component.yaml": """\
name: sheep
description: Count sheep.
kind: processing
inputs:
  flock: {type: Dataset, description: "Sheep, black | white."}
  jumps: {type: integer, default: 3, minimum: 1, maximum: 9, description: "Jumps."}
  asleep: {type: boolean, default: false, description: "Asleep."}
  colour: {type: string, default: "", description: "Colour."}
outputs:
  tally: {type: Report, description: "How many."}
implementation:
  container: {image: sheep, command: [python, -m, components.sheep], context: [shared/component]}
""",
    "Dockerfile": """\
# docker build -f components/sheep/Dockerfile -t sheep .
FROM python:3.11-slim-bookworm
WORKDIR /opt/program
COPY components/sheep/requirements.txt components/sheep/requirements.txt
RUN sh containers/install components/sheep/requirements.txt
COPY shared/component shared/component
COPY components/sheep components/sheep
ARG RUN_AS=1000
USER ${RUN_AS}
ENTRYPOINT ["python", "-m", "components.sheep"]
""",
    "README.md": "# sheep\n\n<!-- ports -->\n<!-- /ports -->\n\nAfter.\n",
    "requirements.in": "numpy<2  # a reason\n",
    "requirements.txt": f"numpy==1.26.4 \\\n    {HASH}\n",
    "__init__.py": "",
    "__main__.py": "",
    "component.py": "",
    "tests/test_sheep.py": "",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository without a problem."""
    _write(tmp_path / "components/sheep", FILES)
    locks = {"ci/requirements.txt": f"numpy==1.26.4 \\\n    {HASH}\n"}
    locks |= {"ci/uv.txt": f"uv==0.13.9 {HASH}\n", "containers/constraints.txt": "numpy==1.26.4\n"}
    _write(tmp_path, locks | {"shared/component/spec.py": ""})
    assert main(["--fix"], tmp_path) == 0
    return tmp_path


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _found(house: Path) -> list[str]:
    return [str(problem) for problem in find_problems(house)]


def test_this_repository_keeps_its_rules() -> None:
    assert _found(REPOSITORY) == []


def test_fix_writes_the_table_and_leaves_the_rest(house: Path) -> None:
    assert (
        (house / "components/sheep/README.md").read_text()
        == """\
# sheep

<!-- ports -->
| name | direction | type | default | meaning |
| --- | --- | --- | --- | --- |
| `flock` | input | Dataset |  | Sheep, black \\| white. |
| `jumps` | input | integer from 1 to 9 | `3` | Jumps. |
| `asleep` | input | boolean | `false` | Asleep. |
| `colour` | input | string | empty | Colour. |
| `tally` | output | Report |  | How many. |
<!-- /ports -->

After.
"""
    )


def test_a_table_that_tells_something_else_is_found_and_named(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = house / "components/sheep/README.md"
    readme.write_text(readme.read_text().replace("from 1 to 9", "from 1 to 8"))
    assert main([], house) == 1
    line = "components/sheep/README.md: its table of ports is out of date; run python -m ci check"
    assert capsys.readouterr().out == f"{line} --fix\n"


def test_a_readme_without_markers_is_found_and_not_touched(house: Path) -> None:
    readme = house / "components/sheep/README.md"
    readme.write_text("# sheep\n")
    assert main(["--fix"], house) == 1
    assert readme.read_text() == "# sheep\n"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(house: Path, name: str) -> None:
    path = house / "components/sheep" / name
    path.unlink()
    if name.startswith("tests/"):
        path.parent.rmdir()
        name = "tests"
    expected = f"components/sheep/{name}: is missing; every component folder has it"
    assert _found(house) == [expected]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("# docker build", "# build", "the first line is not its build command"),
        ("WORKDIR /opt/program", "WORKDIR /opt/ml", "WORKDIR is not /opt/program"),
        ("USER ${RUN_AS}\n", "", "runs as root"),
        ("USER ${RUN_AS}", "USER 1000\nUSER root", "runs as root"),
        ("RUN_AS=1000", "RUN_AS=0", "runs as root"),
        ('"-m", "components.sheep"', '"-m", "components.goats"', "ENTRYPOINT is not"),
        ("COPY shared/component shared/component\n", "", "does not copy 'shared/component'"),
        (
            "USER $",
            "COPY ci ci\nUSER $",
            "copies 'ci', which component.yaml's context does not list",
        ),
        ("USER $", "ADD shared/component shared/component\nUSER $", "'shared/component' goes to"),
        ("COPY components/sheep components/sheep", "COPY components/sheep .", "keep its place"),
        ("sh containers/install ", "pip install -r ", "does not run sh containers/install"),
        ("RUN", "COPY shared/component shared/component\nRUN", "before it installs"),
        ("USER $", "RUN true\n" * 25 + "USER $", "has 35 lines, at most 30"),
    ],
)
def test_a_dockerfile_against_the_rules_is_found(
    house: Path, before: str, after: str, message: str
) -> None:
    path = house / "components/sheep/Dockerfile"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    assert any(message in found for found in _found(house)), _found(house)


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ("numpy==1.26.4\n", "has no hash: numpy==1.26.4"),
        (f"numpy==1.26.3 {HASH}\n", "numpy is at odds with containers/constraints.txt"),
        (f"numpy>=1 {HASH}\n", "pins no version: numpy>=1"),
        (f"--index-url https://host.invalid/simple\nnumpy==1.26.4 {HASH}\n", "names an address"),
        (f"numpy @ https://host.invalid/numpy.whl {HASH}\n", "names an address: numpy"),
        (f"torch==2.13.0 {HASH}\n", "lacks numpy of requirements.in"),
    ],
)
def test_a_lock_against_the_rules_is_found(house: Path, lock: str, message: str) -> None:
    (house / "components/sheep/requirements.txt").write_text(lock)
    found = _found(house)
    assert any(line.startswith("components/sheep/requirements.txt: ") for line in found)
    assert any(message in line for line in found), found


def test_a_context_path_that_is_gone_is_found(house: Path) -> None:
    (house / "shared/component/spec.py").unlink()
    (house / "shared/component").rmdir()
    expected = "components/sheep/component.yaml: context names shared/component, which does not"
    assert _found(house) == [f"{expected} exist"]


def test_a_declaration_that_is_wrong_is_a_problem_not_a_crash(house: Path) -> None:
    path = house / "components/sheep/component.yaml"
    path.write_text(path.read_text().replace("type: integer", "type: int"))
    (problem,) = _found(house)
    assert "inputs.jumps: type is 'int'; choose one of" in problem


def test_what_a_deleted_component_left_behind_is_no_component(house: Path) -> None:
    (house / "components/goats/__pycache__").mkdir(parents=True)
    assert _found(house) == []
