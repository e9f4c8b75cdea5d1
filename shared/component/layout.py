"""The only file that spells /opt/ml: where the platform puts what a job reads and writes.

Sources: "How Amazon SageMaker AI Processes Training Output / Provides Training
Information" and "Build Your Own Processing Container" in the SageMaker guide.
SAGEMAKER_BASE_DIR, the inference toolkit's own variable, moves the root.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.component.port import Port
from shared.component.spec import ComponentSpec

BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
# Where below the root a training job puts its logs: where the platform keeps no TensorBoard
# logs (the trainings of a tuning job), they go where output.tar.gz is made of.
LOGS_VARIABLE = "VISIONLOOP_LOGS"
PACKED_LOGS = "output/data/tensorboard"
OPT_ML = "/opt/ml"  # where SageMaker mounts it


@dataclass(frozen=True)
class Instance:
    """Which machine of a job this is; `index` counts from 0.

    interface: network device that the machines see one another by, where the platform says.
    """

    index: int = 0
    count: int = 1
    first_host: str = "localhost"
    interface: str = ""


@dataclass(frozen=True)
class Layout:
    """The tree of one job under `base`; `logs` is where below it a training's logs go."""

    base: Path
    logs: str = "output/tensorboard"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Layout:
        base = Path(environ.get(BASE_DIR_VARIABLE, OPT_ML))
        return cls(base, environ.get(LOGS_VARIABLE, cls.logs))

    def input_dir(self, spec: ComponentSpec, port: Port) -> Path:
        if spec.is_serving and port.type == "Model":
            return self.base / "model"
        if spec.kind == "training":
            return self.base / "input" / "data" / port.name
        return self.base / "processing" / "input" / port.name

    def output_dir(self, spec: ComponentSpec, port: Port) -> Path:
        """Return where a component writes the artifact of `port`.

        A training job has places of its own: the model is packed to model.tar.gz,
        Metrics are the TensorBoard logs, the rest is packed to output.tar.gz.
        """
        if spec.kind != "training":
            return self.base / "processing" / "output" / port.name
        if port.type == "Model":
            return self.base / "model"
        if port.type == "Metrics":
            return self.base / self.logs
        return self.base / "output" / "data" / port.name

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"

    def explanation_file(self, spec: ComponentSpec) -> Path:
        """Return the file whose first kilobyte becomes the job's failure reason."""
        name = "failure" if spec.kind == "training" else "message"
        return self.base / "output" / name

    def hyperparameters(self) -> dict[str, str]:
        """Return a training job's parameters as the platform wrote them: strings."""
        return _read_json(self.base / "input" / "config" / "hyperparameters.json")

    def instance(self) -> Instance:
        """Return this machine's place among those of the job."""
        for path in (
            self.base / "config" / "resourceconfig.json",  # processing
            self.base / "input" / "config" / "resourceconfig.json",  # training
        ):
            if config := _read_json(path):
                hosts = sorted(config["hosts"])
                index = hosts.index(config["current_host"])
                interface = config.get("network_interface_name", "")
                return Instance(index, len(hosts), hosts[0], interface)
        return Instance()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    document: dict[str, Any] = json.loads(path.read_text())
    return document
