"""Load TorchScript, the one way this system runs it."""

from __future__ import annotations

from pathlib import Path

import torch

from shared.vision.errors import BundleError


def load_script(path: Path, device: torch.device | str = "cpu") -> torch.jit.ScriptModule:
    """Load a script module in evaluation mode.

    Raises:
        BundleError: the file is no TorchScript that this torch can read.
    """
    # The fuser compiles kernels anew for every batch shape: seconds of compiling against
    # milliseconds of answering, measured on CPU.
    torch.jit.set_fusion_strategy([])
    try:
        module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
            str(path), map_location=device
        )
    except (RuntimeError, ValueError) as err:
        raise BundleError(
            f"bundle: {path} is no TorchScript that torch {torch.__version__} reads: "
            f"{str(err).splitlines()[0]}"
        ) from err
    return module.eval()
