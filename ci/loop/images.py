"""The images of a run of the loop: some labelled from the start, the rest as they come in use."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.loop.surroundings import DATA, LoopError, Place
from shared.component.files import sha256_of
from shared.component.progress import track
from shared.component.review_queue import sha256_of_key

RAW_SET = "start"
_UPLOADERS = 8


@dataclass(frozen=True)
class Images:
    """labelled: files by class that the first run trains on; test: likewise, frozen.

    traffic: what comes in use, in its order. truth: the class of each, by its sha256, which
    scripted annotators know and nothing else does.
    """

    classes: Sequence[str]
    labelled: Mapping[str, Sequence[Path]]
    test: Mapping[str, Sequence[Path]]
    traffic: Sequence[Path]
    truth: Mapping[str, str]

    def truth_of(self, uri: str) -> str:
        """Return what an image of the review queue shows."""
        return self.truth[sha256_of_key(uri)]


def fetch(place: Place, uri: str, labelled: int, seed: int) -> Images:
    """Fetch a data set as the pipeline does, and keep back all but `labelled` images.

    Raises:
        LoopError: there are too few images, or none to test on.
    """
    raw = place.folder / "raw"
    words = ["--train", uri, "--raw", str(raw), "--labels", str(place.folder / "none")]
    place.python("-m", "components.fetch_data", *words, name="images")
    train, test = _by_class(raw / "train"), _by_class(raw / "test")
    if not test:
        raise LoopError(f"loop: {uri} has no test folder; give a data set with one")
    files = [(name, path) for name, paths in train.items() for path in paths]
    random.Random(seed).shuffle(files)  # noqa: S311 - which images are kept back
    if len(files) < 2 * labelled:
        raise LoopError(f"loop: {uri} has {len(files)} images; pass --labelled {len(files) // 2}")
    chosen: dict[str, list[Path]] = {}
    for name, path in files[:labelled]:
        chosen.setdefault(name, []).append(path)
    rest = files[labelled:]
    truth = {sha256_of(path): name for name, path in rest}
    return Images(sorted(train), chosen, test, [path for _, path in rest], truth)


def upload(client: Any, images: Images) -> None:
    """Put the labelled set where new raw data belongs, _SUCCESS last."""
    folders = {"train": images.labelled, "test": images.test}
    objects = [
        (f"raw/{RAW_SET}/{split}/{name}/{path.name}", path)
        for split, classes in folders.items()
        for name, paths in classes.items()
        for path in paths
    ]

    def put(item: tuple[str, Path]) -> None:
        client.put_object(Bucket=DATA, Key=item[0], Body=item[1].read_bytes())

    with ThreadPoolExecutor(_UPLOADERS) as pool:
        for _ in track(pool.map(put, objects), len(objects), "images", "upload"):
            pass
    client.put_object(Bucket=DATA, Key=f"raw/{RAW_SET}/_SUCCESS", Body=b"")


def _by_class(folder: Path) -> dict[str, list[Path]]:
    return {
        child.name: sorted(path for path in child.iterdir() if path.is_file())
        for child in sorted(folder.glob("*"))
        if child.is_dir()
    }
