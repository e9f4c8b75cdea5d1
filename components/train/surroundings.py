"""What a result depends on besides the recipe: the same again gives the same bundle, on a CPU."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

import torch

_LIBRARIES = ("torch", "torchvision", "timm", "lightning", "albumentations", "numpy")


def surroundings(devices: int) -> dict[str, str]:
    """Return what the sums of a training depend on, by name; no time and no host's name.

    devices: how many share a step.
    """
    if torch.cuda.is_available():
        kind = torch.cuda.get_device_name()
    else:
        cpu = re.search(r"model name\s*:\s*(.*)", _text(Path("/proc/cpuinfo")))
        kind = cpu[1] if cpu else platform.machine()
    return {
        "device": f"{devices} x {kind}",
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
