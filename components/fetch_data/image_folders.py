"""Find split and class of every image in a folder tree, and lay it out as RawImages.

Known layouts: `<class>/`, `train/<class>/` beside `test/` and `val/`, Kaggle's
`seg_train/seg_train/<class>/` with unlabelled `seg_pred/`, each inside any number of
wrapping folders. Classes are what the folders are called.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
IMAGE_SUFFIXES = frozenset(
    (*_JPEG_SUFFIXES, ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
)
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
    "pred": "unlabelled",
    "unlabelled": "unlabelled",
    "unlabeled": "unlabelled",
}
_JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class FoundImage:
    """An image file; class_name is None where no folder says what it shows.

    location: the path below the source's folder.
    """

    path: Path
    location: Path
    split: str | None
    class_name: str | None


@dataclass
class Findings:
    """What a tree holds; `skipped` maps a file to why it is left out."""

    images: list[FoundImage] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def of_split(self, *splits: str | None) -> list[FoundImage]:
        """Return the images of these splits; None is where no folder names one."""
        return [image for image in self.images if image.split in splits]


def find_images(root: Path) -> Findings:
    """Walk `root` in the order of names; never follow a link out of it."""
    root = root.resolve()
    findings = Findings()
    files: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in _walk(root):
        relative = path.relative_to(root)
        if reason := _unfit(path, root):
            findings.skipped[os.fsencode(relative).decode(errors="backslashreplace")] = reason
        else:
            files[relative.parts[:-1]].append(path)
    placed = {folder: _split_and_rest(folder, files) for folder in files}
    wrappers = _wrappers(placed.values())
    for folder, paths in files.items():
        split, rest = placed[folder]
        rest = rest[wrappers.get(split, 0) :]
        if not rest and split != "unlabelled":
            findings.skipped |= {str(p.relative_to(root)): "in no class folder" for p in paths}
            continue
        class_name = None if split == "unlabelled" else rest[0]
        findings.images += [FoundImage(p, p.relative_to(root), split, class_name) for p in paths]
    return findings


def lay_out(images: list[FoundImage], folder: Path) -> dict[str, int]:
    """Put the images below `folder` by class, and return how many each class has.

    Files are hard links where the file system allows, else copies.
    """
    counts: dict[str, int] = defaultdict(int)
    taken: set[Path] = set()
    for image in images:
        target = _free_name(folder / (image.class_name or "") / image.path.name, taken)
        taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(image.path, target)
        counts[image.class_name or ""] += 1
    return dict(sorted(counts.items()))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy on another file system."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_junk(name))
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in linked)  # os.walk does not enter them
        yield from (Path(folder, name) for name in sorted(files) if not _is_junk(name))


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _unfit(path: Path, root: Path) -> str:
    """Return why a file is left out, "" when it is taken for an image."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
        return "a link"
    if not path.is_file():
        return "no regular file"
    return "" if path.suffix.lower() in IMAGE_SUFFIXES else "no image"


def _split_of(name: str) -> str | None:
    """Return the split a folder's name stands for: `train`, `seg_test`, `training_set`"""
    first, *_, last = [*re.split(r"[_\-. ]", name.lower())] * 2
    return _SPLIT_WORDS.get(first) or _SPLIT_WORDS.get(last)


def _split_and_rest(
    folder: tuple[str, ...], files: dict[tuple[str, ...], list[Path]]
) -> tuple[str | None, tuple[str, ...]]:
    """Return a folder's split and the path from there on to its images."""
    split, start = None, 0
    for depth, name in enumerate(folder, 1):
        word = _split_of(name)
        if word is None or _is_class(folder[:depth], files):
            if split:
                break
        elif split in (None, word):  # twice in Kaggle's seg_train/seg_train
            split, start = word, depth
    return split, folder[start:]


def _is_class(folder: tuple[str, ...], files: dict[tuple[str, ...], list[Path]]) -> bool:
    """Tell a class that is called `train` from a split: its siblings are classes too."""
    return folder in files and any(
        other[:-1] == folder[:-1] and not _split_of(other[-1]) for other in files if other
    )


def _wrappers(
    placed: Iterable[tuple[str | None, tuple[str, ...]]],
) -> dict[str | None, int]:
    """Return per split how many leading folders all its images share, before the class."""
    by_split: dict[str | None, list[tuple[str, ...]]] = defaultdict(list)
    for split, rest in placed:
        if rest:
            by_split[split].append(rest)
    shared = {}
    for split, paths in by_split.items():
        levels = zip(*(path[:-1] for path in paths), strict=False)  # the last may be the class
        shared[split] = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return shared


def _free_name(path: Path, taken: set[Path]) -> Path:
    """Return `path`, numbered when two sources use the same name."""
    number, free = 2, path
    while free in taken:
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free
