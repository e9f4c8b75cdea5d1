"""What a range of commits would rebuild, on a repository made for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ci.changed import changes, ends_of, main
from ci.errors import HistoryError


@pytest.fixture
def history(farm: Path) -> Path:
    """The farm with its first commit."""
    _git(farm, "init", "-q", "-b", "main")
    _commit(farm)
    return farm


def _git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _commit(root: Path) -> str:
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "--allow-empty", "-m", "change")
    return _git(root, "rev-parse", "HEAD")


def _write(root: Path, path: str, text: str = "other\n") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def _rebuilt(root: Path) -> dict[str, list[str]]:
    before, after = ends_of("", root)
    return {change.component: list(change.paths) for change in changes(before, after, root).images}


@pytest.mark.parametrize(
    "path",
    ["components/sheep/README.md", "components/sheep/tests/test_sheep.py", "README.md", "ci/x.py"],
)
def test_words_and_tests_rebuild_nothing(history: Path, path: str) -> None:
    _write(history, path)
    _commit(history)
    assert _rebuilt(history) == {}


@pytest.mark.parametrize(
    ("path", "rebuilt"),
    [
        ("components/sheep/component.py", {"sheep"}),
        ("components/sheep/Dockerfile", {"sheep"}),
        ("components/sheep/new.py", {"sheep"}),
        ("shared/vision/drift.py", {"goat"}),
        ("shared/component/spec.py", {"goat", "sheep"}),
        ("containers/install", {"goat", "sheep"}),
    ],
)
def test_a_file_rebuilds_the_images_that_carry_it(
    history: Path, path: str, rebuilt: set[str]
) -> None:
    _write(history, path)
    _commit(history)
    assert _rebuilt(history) == {name: [path] for name in rebuilt}


def test_the_working_tree_is_not_looked_at(history: Path) -> None:
    _write(history, "components/sheep/component.py")
    _commit(history)
    _write(history, "shared/vision/drift.py")
    assert _rebuilt(history).keys() == {"sheep"}


def test_a_path_that_joins_the_context_rebuilds_though_no_file_of_it_changed(history: Path) -> None:
    path = history / "components/sheep/component.yaml"
    path.write_text(
        path.read_text().replace("shared/component,", "shared/component, shared/vision,")
    )
    _commit(history)
    assert _rebuilt(history) == {
        "sheep": ["components/sheep/component.yaml", "shared/vision/drift.py"]
    }


def test_a_file_that_is_deleted_or_no_longer_a_program_rebuilds(history: Path) -> None:
    (history / "shared/vision/drift.py").unlink()
    (history / "containers/install").chmod(0o644)
    _commit(history)
    assert _rebuilt(history) == {
        "goat": ["containers/install", "shared/vision/drift.py"],
        "sheep": ["containers/install"],
    }


def test_components_that_come_and_go_are_told_apart(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = (history / "components/sheep/component.yaml").read_text()
    _git(history, "rm", "-rq", "components/sheep")
    _write(history, "components/lamb/component.yaml", spec.replace("sheep", "lamb"))
    _commit(history)
    assert main(["--json"], history) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: change["what"] for name, change in told.items()} == {
        "lamb": "new",
        "sheep": "gone",
    }


def test_the_first_commit_makes_all_images(history: Path) -> None:
    assert _rebuilt(history).keys() == {"goat", "sheep"}


def test_without_a_range_a_branch_is_held_against_where_it_left_main(history: Path) -> None:
    base = _git(history, "rev-parse", "HEAD")
    _write(history, "shared/vision/drift.py")
    _git(history, "update-ref", "refs/remotes/origin/main", _commit(history))
    _git(history, "checkout", "-q", "-b", "topic", base)
    for number in (2, 3):
        _write(history, "components/sheep/component.py", f"SHEEP = {number}\n")
        _commit(history)
    assert _rebuilt(history) == {"sheep": ["components/sheep/component.py"]}


def test_a_range_names_its_ends(history: Path) -> None:
    first = _git(history, "rev-parse", "HEAD")
    second = _commit(history)
    assert ends_of(f"{first}..{second}", history) == (first, second)
    assert ends_of("HEAD~1..", history) == (first, second)
    assert ends_of("HEAD~1", history) == (first, second)
    assert ends_of(f"{second}...{first}", history) == (first, first)


def test_people_are_told_why_and_what_has_no_effect(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(history, "components/sheep/component.py")
    _write(history, "README.md")
    _commit(history)
    assert main([], history) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sheep: rebuilt",
        "  components/sheep/component.py",
        "in no image: README.md",
    ]


def test_a_commit_that_is_not_here_is_told_with_the_remedy(history: Path) -> None:
    with pytest.raises(HistoryError, match=r"'v9' is no commit of this clone; .*--unshallow"):
        ends_of("v9..HEAD", history)


def test_a_shallow_clone_says_what_it_lacks(history: Path, tmp_path: Path) -> None:
    _commit(history)
    clone = tmp_path / "clone"
    _git(history, "clone", "-q", "--depth", "1", f"file://{history}", str(clone))
    _git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    with pytest.raises(HistoryError, match="git fetch --deepen=1"):
        ends_of("", clone)
