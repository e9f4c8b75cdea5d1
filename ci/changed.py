"""python -m ci changed [RANGE]: the images that a range of commits would rebuild, and why.

Reads git's trees, not the working tree. RANGE is A..B (from A to B) or A...B (from where B
left A's branch); without one it is what this branch adds to origin/main, and on main itself
the last commit. A README or a test is in no image, so it rebuilds nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.errors import HistoryError
from ci.problems import REPOSITORY
from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.images import is_in_context

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's own, of no file at all
_MAIN = "origin/main"
_SHOWN = 8  # paths of one image; the JSON has them all


@dataclass(frozen=True)
class Change:
    """What a range does to one component's image.

    what: rebuilt, new or gone.
    paths: the files of the image that differ.
    """

    component: str
    what: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """What a range does to all images; `without_effect` is what is in none of them."""

    images: tuple[Change, ...]
    without_effect: tuple[str, ...]


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Print the images that the range would rebuild."""
    parser = argparse.ArgumentParser(
        prog="python -m ci changed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("range", nargs="?", default="", help="A..B or A...B")
    parser.add_argument("--json", action="store_true", help="{component: {what, paths}}")
    arguments = parser.parse_args(argv)
    before, after = ends_of(arguments.range, root)
    found = changes(before, after, root)
    if arguments.json:
        document = {c.component: {"what": c.what, "paths": list(c.paths)} for c in found.images}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(found))
    return 0


def ends_of(text: str, root: Path) -> tuple[str, str]:
    """Return the two commits or trees that a range lies between.

    Raises:
        HistoryError: the range names what is not in this clone.
    """
    if not text:
        return _default_ends(root)
    for dots in ("...", ".."):
        if dots in text:
            first, _, last = text.partition(dots)
            before, after = _commit(first or "HEAD", root), _commit(last or "HEAD", root)
            return (_base(before, after, root), after) if dots == "..." else (before, after)
    return _commit(text, root), _commit("HEAD", root)


def changes(before: str, after: str, root: Path) -> Changes:
    """Compare two commits, image by image."""
    trees = _tree(before, root), _tree(after, root)
    differing = sorted(
        path
        for path in trees[0].keys() | trees[1].keys()
        if trees[0].get(path) != trees[1].get(path)
    )
    specs = _specs(before, trees[0], root), _specs(after, trees[1], root)
    images = []
    for name in sorted(specs[0].keys() | specs[1].keys()):
        old, new = specs[0].get(name), specs[1].get(name)
        # By its own spec of each side: a path that joins or leaves `context` is a change too.
        was = {path for path in trees[0] if old and is_in_context(path, old)}
        now = {path for path in trees[1] if new and is_in_context(path, new)}
        paths = {path for path in differing if path in was | now} | (was ^ now)
        if paths:
            what = "new" if old is None else "gone" if new is None else "rebuilt"
            images.append(Change(name, what, tuple(sorted(paths))))
    used = {path for change in images for path in change.paths}
    return Changes(tuple(images), tuple(path for path in differing if path not in used))


def _default_ends(root: Path) -> tuple[str, str]:
    head = _commit("HEAD", root)
    main = _git(root, "rev-parse", "--verify", "--quiet", f"{_MAIN}^{{commit}}")
    base = _base(main, head, root) if main else head
    if base != head:
        return base, head
    before = _git(root, "rev-parse", "--verify", "--quiet", "HEAD~1^{commit}")
    if not before and _git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise HistoryError(
            "changed: this clone has no commit before HEAD; fetch more: git fetch --deepen=1"
        )
    return before or _EMPTY_TREE, head


def _commit(name: str, root: Path) -> str:
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not found:
        raise HistoryError(
            f"changed: '{name}' is no commit of this clone; correct it, or fetch it "
            "(git fetch --unshallow where CI made a shallow clone)"
        )
    return found


def _base(first: str, last: str, root: Path) -> str:
    found = _git(root, "merge-base", first, last)
    if not found:
        raise HistoryError(
            f"changed: {first[:12]} and {last[:12]} have no common commit in this clone; "
            "fetch more: git fetch --unshallow"
        )
    return found


def _tree(commit: str, root: Path) -> dict[str, str]:
    """Return mode and content hash of every file of a commit."""
    if commit == _EMPTY_TREE:  # git knows it without having it
        return {}
    entries = _git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
    pairs = (entry.partition("\t") for entry in entries if entry)
    return {path: identity for identity, _, path in pairs}


def _specs(commit: str, tree: Mapping[str, str], root: Path) -> dict[str, ComponentSpec]:
    """Read every component.yaml of a commit."""
    specs = {}
    with tempfile.TemporaryDirectory(prefix="changed-") as scratch:
        for path in tree:
            parts = Path(path).parts
            if len(parts) == 3 and (parts[0], parts[2]) == ("components", "component.yaml"):
                folder = Path(scratch) / parts[1]
                folder.mkdir()
                (folder / parts[2]).write_text(_git(root, "show", f"{commit}:{path}"))
                specs[parts[1]] = load_spec(folder)
    return specs


def _lines(found: Changes) -> list[str]:
    lines = []
    for change in found.images:
        lines.append(f"{change.component}: {change.what}")
        lines += [f"  {path}" for path in change.paths[:_SHOWN]]
        if len(change.paths) > _SHOWN:
            lines.append(f"  and {len(change.paths) - _SHOWN} more")
    if not found.images:
        lines.append("no image changes")
    if found.without_effect:
        lines.append(f"in no image: {', '.join(found.without_effect[:_SHOWN])}")
        if len(found.without_effect) > _SHOWN:
            lines[-1] += f" and {len(found.without_effect) - _SHOWN} more"
    return lines


def _git(root: Path, *words: str) -> str:
    """Return git's answer; empty where it fails, which every caller takes for 'not there'.

    Raises:
        HistoryError: there is no git.
    """
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as err:
        raise HistoryError("changed: git is not on PATH; install it") from err
    return done.stdout.decode(errors="surrogateescape").strip() if not done.returncode else ""
