"""Several devices and machines: who this process is among those of the job."""

from __future__ import annotations

import os

import torch

from shared.component.errors import UsageError
from shared.component.layout import Layout

_MASTER_PORT = "29500"  # torch's own default


def join_instances(layout: Layout) -> int:
    """Tell Lightning which machine of the job this is, from SageMaker's resourceconfig.json.

    Returns: how many machines there are. What the environment says already is left.
    """
    instance = layout.instance()
    if instance.count > 1:
        facts = {
            "MASTER_ADDR": instance.first_host,
            "MASTER_PORT": _MASTER_PORT,
            "NODE_RANK": str(instance.index),
        }
        if instance.interface:  # of several, that which the machines see one another by
            facts |= {f"{kind}_SOCKET_IFNAME": instance.interface for kind in ("GLOO", "NCCL")}
        for name, value in facts.items():
            os.environ.setdefault(name, value)
    return instance.count


def strategy(instances: int, has_frozen: bool, sync_batchnorm: bool) -> str:
    """Return Lightning's name of how devices share the work: DDP where there are several.

    has_frozen: for some epochs a part of the network has no gradients.
    Raises:
        UsageError: normalisation is to be synchronised between CPUs, which torch cannot do.
    """
    has_gpu = torch.cuda.is_available()
    devices = instances * (torch.cuda.device_count() if has_gpu else 1)
    if devices == 1:
        return "auto"
    if sync_batchnorm and not has_gpu:
        raise UsageError(
            "train: sync_batchnorm needs GPUs; leave it off for training on several CPU machines"
        )
    return "ddp_find_unused_parameters_true" if has_frozen else "ddp"
