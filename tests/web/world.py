"""A machine as `make web` finds and shows it: a pipeline, a model that serves, the pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from ci.problems import REPOSITORY
from ci.tests.live import assert_all_gone, wait_until
from ci.tests.packages import register
from components.web.tests.operator import documents
from shared.component.object_store import FolderStore
from shared.component.review_queue import IMAGES, ReviewTask, read_task, task_key
from shared.vision.bundle import pack
from shared.vision.tests.factories import COLOURS, colour_image
from shared.vision.tests.served import make_served_bundle

GROUP = "colours"
# Of a run that learns nothing, soon: timm's smallest network sees the archive once.
QUICK = {
    "Model": "test_resnet",
    "PretrainedWeights": "none",
    "ImageSize": "32",
    "Epochs": "1",
    "BatchSize": "16",
    "MinAccuracy": "0",
    "MinMacroF1": "0",
    "MinClassRecall": "0",
    "MaxRegression": "1",
}
LABEL_STUDIO = "http://127.0.0.1:9"  # nobody; the pages only lead there
_MERGED = "s3://data/merge"
_FLAGS = (
    *("--requests-per-minute", "100000"),
    *("--feedback-per-day", "1000"),
    *("--label-report", _MERGED),
    *("--label-studio", LABEL_STUDIO),
)


@dataclass(frozen=True)
class World:
    """A home, and the pages that show it."""

    home: Path
    url: str

    @property
    def archive(self) -> Path:
        """Images to train on, where `furnish` has left them."""
        return self.home / "colours.zip"

    def task(self, image: bytes) -> ReviewTask | None:
        """Return what people are asked about an image, None where nobody has queued it."""
        data = FolderStore(self.home / "endpoint").get(task_key(sha256(image).hexdigest()))
        return read_task(data, "a task") if data else None

    def reviewed(self) -> list[bytes]:
        """Return the images that people are asked about."""
        folder = self.home / "endpoint" / IMAGES
        return [path.read_bytes() for path in folder.glob("*")]

    def serving(self) -> Mapping[str, Any]:
        path = self.home / "serving.json"
        body: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return body

    def await_model(self) -> None:
        wait_until(lambda: "InService" in json.dumps(self.serving()), 90)


def furnish(home: Path) -> None:
    """Leave in a home what a first use has left: a pipeline, images, labels, a model."""
    home.mkdir(parents=True, exist_ok=True)
    write_archive(World(home, "").archive, train=16, test=8)
    bundle = make_served_bundle(home / "bundle")
    pack(bundle.folder, home / "s3" / "bucket" / "model.tar.gz")
    register(home, GROUP, "model.tar.gz")
    documents.write(home / "s3", f"{_MERGED}/report.json", documents.MERGED)
    pipeline(home, "--upsert", "--name", GROUP)


def pipeline(home: Path, *words: str) -> None:
    """Call pipeline.py as a person does, on this machine."""
    command = [sys.executable, "pipeline.py", "--backend", "local", *words]
    environ = os.environ | {"VISIONLOOP_HOME": str(home)}
    subprocess.run(command, cwd=REPOSITORY, env=environ, check=True, capture_output=True)


def write_archive(path: Path, train: int, test: int) -> None:
    """Write images of three colours, so many of each, and one of each flaw that data has."""
    flaws = {
        "train/red/broken.png": b"no image",
        "train/red/copy.png": colour_image("red", 0),
        "train/blue/disputed.png": colour_image("blue", 500),
        "train/green/disputed.png": colour_image("blue", 500),
        "train/green/leak.png": colour_image("green", 1000),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for part, count, seed in (("train", train, 0), ("test", test, 1000)):
            for name in sorted(COLOURS):
                for number in range(count):
                    image = colour_image(name, seed + number)
                    archive.writestr(f"{part}/{name}/{number}.png", image)
        for name, data in flaws.items():
            archive.writestr(name, data)


@contextmanager
def shown(home: Path, group: str = GROUP) -> Iterator[World]:
    """Run the real `ci web` on a home; afterwards none of its processes is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ci", "web", "--port", "0", "--name", group, *_FLAGS],
        cwd=REPOSITORY,
        env=os.environ | {"VISIONLOOP_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    family: list[psutil.Process] = []
    try:
        yield World(home, _address(process))
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
    finally:
        runs = [each for each in family if _is_run(each)]
        process.terminate()
        process.communicate(timeout=120)
        _end(runs)
    assert_all_gone(family)


def _is_run(process: psutil.Process) -> bool:
    try:
        return "pipeline.py" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def _end(runs: Sequence[psutil.Process]) -> None:
    """End what `ci web` lets go on: runs, where a test has not waited for their end."""
    for run in runs:
        with suppress(psutil.NoSuchProcess):
            for each in [*run.children(recursive=True), run]:
                each.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line + process.stderr.read()
    return found[0]
