"""Where the network runs: on a GPU where one can be used, else on the CPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from shared.component.errors import UsageError

_DRIVER = Path("/dev/nvidiactl")
_HIDDEN = ("", "-1", "NoDevFiles")  # CUDA_VISIBLE_DEVICES, set to show none


def choose_device(
    asked: str, engine: str, environ: Mapping[str, str] = os.environ, driver: Path = _DRIVER
) -> str:
    """Return cpu or cuda; torch is not imported for it.

    asked: auto, cpu or cuda; auto: a GPU if torch can use one and the engine may.
    driver: the file that a GPU's driver makes.
    Raises:
        UsageError: cuda, but the engine runs on CPUs only, or this torch has no CUDA.
    """
    if asked == "cpu":
        return "cpu"
    obstacle = _obstacle(engine)
    if asked == "cuda":
        if obstacle:
            raise UsageError(f"inference: --device cuda: {obstacle}")
        return "cuda"
    is_shown = environ.get("CUDA_VISIBLE_DEVICES", "all") not in _HIDDEN
    return "cuda" if driver.exists() and is_shown and not obstacle else "cpu"


def survives_fork(device: str) -> bool:
    """Tell whether a process that has loaded a network there may fork; CUDA's may not."""
    return device == "cpu"


def nth_device(device: str, number: int | None) -> str:
    """Return the device of one worker.

    number: of a GPU, as multi-model-server deals them out; None: it found none. It counts
        those of the machine, torch those that CUDA_VISIBLE_DEVICES shows.
    """
    if device == "cpu":
        return "cpu"
    import torch

    return f"{device}:{(number or 0) % max(1, torch.cuda.device_count())}"


def _obstacle(engine: str) -> str:
    if engine == "onnx":
        return "the onnx engine runs on CPUs; choose --engine torchscript or auto"
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return "torch is not installed"
    if not (Path(found.origin).parent / "lib" / "libtorch_cuda.so").exists():
        return "this torch is built for CPUs; install the one with CUDA, or use --device cpu"
    return ""
