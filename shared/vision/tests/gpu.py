"""Whether this machine has a GPU."""

from __future__ import annotations

import pytest
import torch


def needs_gpu() -> None:
    """Skip where torch has no GPU to use."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
