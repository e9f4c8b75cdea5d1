"""python -m ci bench: speed and memory as ratios measured in one run on one machine.

Prints JSON: the machine, then per benchmark what was measured, the limit it is held
against, and their ratio. Runs alone; anything beside it on the machine falsifies it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ci.bench_functions import functions

_REPOSITORY = Path(__file__).parents[1]
_LOOP_S = 12.0
_ROUNDS = 3
_IMAGE_SIZE = 128
_SAMPLE = "sample://scenes?images=600&test=60"


def main(argv: Sequence[str]) -> int:
    """Run the chosen benchmarks and print one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m ci bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="one benchmark; default: all")
    parser.add_argument(
        "--data",
        default=_SAMPLE,
        help="images for the loader and the pipeline; default: %(default)s",
    )
    arguments = parser.parse_args(argv)
    chosen = [arguments.only] if arguments.only else list(BENCHMARKS)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        results = {name: BENCHMARKS[name](Path(scratch), arguments.data) for name in chosen}
    sys.stdout.write(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    return 0


def machine() -> dict[str, Any]:
    """Describe what the figures depend on."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def command_line(_scratch: Path, _data: str) -> dict[str, Any]:
    """Time what a person waits for before anything happens."""
    commands = {
        "pipeline --help": (["pipeline.py", "--help"], 0.3),
        "component --help": (["-m", "components.train", "--help"], 0.3),
        "pipeline --definition": (["pipeline.py", "--definition"], 3.0),
    }
    return {
        name: {"seconds": round(_best(arguments), 3), "goal_s": goal}
        for name, (arguments, goal) in commands.items()
    }


def loader(scratch: Path, data: str) -> dict[str, Any]:
    """Compare the training loader with the bare loop and with ImageFolder, images per second."""
    folder = _prepared(scratch, data)
    rates: dict[str, list[float]] = {"limit": [], "loader": [], "image_folder": []}
    for _ in range(_ROUNDS):  # in turn, so that a slow minute slows all of them
        for name, measure in (
            ("limit", _bare_loop),
            ("loader", _our_loader),
            ("image_folder", _image_folder),
        ):
            rates[name].append(_in_process(measure, folder))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "limit": "the same decode and transforms in a bare loop over bytes in memory, one "
        "process per core, normalised in the same process",
        "images_per_s": {name: round(value) for name, value in middle.items()},
        "of_limit": round(middle["loader"] / middle["limit"], 3),
        "goal_of_limit": 0.85,
        "of_image_folder": round(middle["loader"] / middle["image_folder"], 3),
    }


def pipeline(scratch: Path, data: str) -> dict[str, Any]:
    """Time the main job, then the same again from cache."""
    environ = os.environ | {"VISIONLOOP_HOME": str(scratch / "home")}
    options = ["TrainDataset=" + data, "PretrainedWeights=none"]
    options += [f"{gate}=0" for gate in ("MinAccuracy", "MinMacroF1", "MinClassRecall")]
    command = ["pipeline.py", "--upsert", "--start", "--backend", "local"]
    command += [word for option in options for word in ("-p", option)]
    first, cached = (_run(command, environ) for _ in range(2))
    return {
        "first_s": round(first, 1),
        "goal_first_s": 150,
        "cached_s": round(cached, 2),
        "goal_cached_s": 5,
    }


def memory(scratch: Path, _data: str) -> dict[str, Any]:
    """Show that peak memory does not follow the number of images."""
    peaks: dict[str, dict[str, float]] = {"preprocess": {}, "train": {}}
    for images in (600, 6000):
        folder = scratch / f"memory-{images}"
        source = f"sample://scenes?images={images}&test=60&size=64"
        _component("fetch_data", folder, train=source, raw=folder / "raw", labels=folder / "labels")
        peaks["preprocess"][str(images)] = _component(
            "preprocess",
            folder,
            raw=folder / "raw",
            dataset=folder / "dataset",
            frozen=folder / "frozen",
            report=folder / "report",
        )
        peaks["train"][str(images)] = _component(
            "train",
            folder,
            dataset=folder / "dataset",
            pretrained="none",
            image_size=64,
            epochs=1,
            model=folder / "model",
            logs=folder / "logs",
        )
    return {
        step: {
            "peak_mb_by_images": {n: round(value) for n, value in by_images.items()},
            "ten_times_the_images": round(by_images["6000"] / by_images["600"], 3),
        }
        for step, by_images in peaks.items()
    }


BENCHMARKS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "command_line": command_line,
    "loader": loader,
    "pipeline": pipeline,
    "memory": memory,
    "functions": functions,
}


def _run(arguments: Sequence[str], environ: dict[str, str] | None = None) -> float:
    started = time.monotonic()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=_REPOSITORY,
        env=environ,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - started


def _best(arguments: Sequence[str]) -> float:
    """Return the least of several: what else the machine did only ever adds."""
    return min(_run(arguments) for _ in range(5))


def _component(name: str, folder: Path, **values: object) -> float:
    """Run a component and return its peak resident memory, children apart, in MB."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", f"components.{name}", *flags],
        cwd=_REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return usage.ru_maxrss / 1024


def _prepared(scratch: Path, data: str) -> Path:
    folder = scratch / "loader"
    _component("fetch_data", folder, train=data, raw=folder / "raw", labels=folder / "labels")
    _component(
        "preprocess",
        folder,
        raw=folder / "raw",
        dataset=folder / "dataset",
        frozen=folder / "frozen",
        report=folder / "report",
    )
    return folder


def _in_process(measure: Callable[[Path], float], folder: Path) -> float:
    """Measure in a fresh process, so that no thread pool or cache is inherited."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, measure, folder))
    process.start()
    sender.close()
    rate: float = receiver.recv()
    process.join()
    return rate


def _send(sender: Any, measure: Callable[[Path], float], folder: Path) -> None:
    sender.send(measure(folder))


def _bare_loop(folder: Path) -> float:
    context = multiprocessing.get_context("fork")
    cores = len(os.sched_getaffinity(0))
    with context.Pool(cores) as pool:
        return sum(pool.map(_bare_loop_on_one_core, [folder] * cores))


def _bare_loop_on_one_core(folder: Path) -> float:
    import cv2
    import numpy as np

    from components.train.augmentations import policy
    from shared.vision.dataset import Dataset
    from shared.vision.images import decode_rgb
    from shared.vision.transform_spec import TransformSpec
    from shared.vision.transforms import normalise

    cv2.setNumThreads(0)
    split = Dataset.open(folder / "dataset").split("train")
    images = [split.read(i) for i in range(len(split))]
    spec, augment = TransformSpec(_IMAGE_SIZE, _IMAGE_SIZE), policy("medium", _IMAGE_SIZE)
    if augment is None:
        raise ValueError("the policy 'medium' augments nothing")
    done, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < _LOOP_S:
        image = decode_rgb(images[done % len(images)], at_least=2 * _IMAGE_SIZE)
        normalise(augment(image=np.array(image))["image"], spec)
        done += 1
    return done / elapsed


def _our_loader(folder: Path) -> float:
    import torch

    from components.train.augmentations import policy
    from components.train.loader import EpochBatches, TrainingBatches, loader
    from shared.vision.dataset import Dataset
    from shared.vision.transform_spec import TransformSpec
    from shared.vision.transforms import normalisation

    split = Dataset.open(folder / "dataset").split("train")
    spec = TransformSpec(_IMAGE_SIZE, _IMAGE_SIZE)
    keys = EpochBatches(len(split), 32, seed=0)
    batches = TrainingBatches(split, spec, policy("medium", _IMAGE_SIZE))
    scale, offset = (torch.from_numpy(a).view(1, 3, 1, 1) for a in normalisation(spec))
    torch.set_num_threads(1)

    def normalised(batch: Any) -> int:
        return len(batch[0].permute(0, 3, 1, 2).float() * scale + offset)

    return _rate(loader(batches, keys, len(os.sched_getaffinity(0)), pin_memory=False), normalised)


def _image_folder(folder: Path) -> float:
    """What most people write: files in folders, PIL, torchvision's transforms."""
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(_IMAGE_SIZE, scale=(0.35, 1), ratio=(0.8, 1.25), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.4, 0.04),
            v2.RandomGrayscale(0.05),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    _remove_damaged(folder)
    data = ImageFolder(str(folder / "raw" / "train"), transform)
    batches = torch.utils.data.DataLoader(
        data,
        batch_size=32,
        shuffle=True,
        num_workers=len(os.sched_getaffinity(0)),
        persistent_workers=True,
    )
    torch.set_num_threads(1)
    return _rate(batches, lambda batch: len(batch[0]))


def _remove_damaged(folder: Path) -> None:
    """ImageFolder dies of the files that preprocess put in quarantine."""
    from shared.vision.errors import ImageError
    from shared.vision.images import decode_rgb

    for path in (folder / "raw" / "train").rglob("*.*"):
        try:
            decode_rgb(path.read_bytes())
        except ImageError:
            path.unlink()


def _rate(batches: Any, count: Callable[[Any], int]) -> float:
    """Return images per second over whole epochs, after one that warms up."""
    for batch in batches:
        count(batch)
    done, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < _LOOP_S:
        done += sum(count(batch) for batch in batches)
    return done / elapsed
