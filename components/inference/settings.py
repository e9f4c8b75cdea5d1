"""What a worker has to know: a file in the run folder, named by one variable.

Workers are children of Java, which passes on the environment and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.component.files import write_json

RUN_VARIABLE = "VISIONLOOP_RUN"  # the private folder of one server
FAILURE_FILE = "failure"  # a worker that cannot load says why in it; MMS would swallow it
_FILE = "worker.json"


@dataclass(frozen=True)
class ReviewSettings:
    """What is kept of requests.

    is_kept: whether there is anywhere to keep it.
    min_confidence: percent; sampling_interval: images.
    log_share: of the requests, in [0, 1]; embedding_share: logged with their embeddings.
    """

    is_kept: bool
    min_confidence: float
    sampling_interval: int
    per_day: float
    log_share: float
    embedding_share: float


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of every worker of one server.

    device: cpu or cuda, whose number multi-model-server gives each worker.
    timeout_s: of a batch.
    fork: the model is loaded before the workers are forked.
    has_cores: there is a core for each worker.
    buckets: what `s3_uri` may name.
    records_per_s: reported whole; 0: nothing is, no collector listens.
    """

    run: str
    bundle: str
    engine: str
    device: str
    timeout_s: int
    fork: bool
    has_cores: bool
    model_version: str
    buckets: tuple[str, ...]
    records_per_s: float
    review: ReviewSettings

    @property
    def has_telemetry(self) -> bool:
        return self.records_per_s > 0

    @property
    def socket(self) -> Path:
        return Path(self.run) / "telemetry.sock"

    @property
    def spool(self) -> Path:
        return Path(self.run) / "spool"

    @property
    def state(self) -> Path:
        return Path(self.run) / "state"

    @property
    def failure(self) -> Path:
        return Path(self.run) / FAILURE_FILE

    def write(self) -> None:
        write_json(Path(self.run) / _FILE, asdict(self))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> WorkerSettings:
        """Read the settings of the server this process works for."""
        document = json.loads((Path(environ[RUN_VARIABLE]) / _FILE).read_text())
        review = ReviewSettings(**document["review"])
        return cls(**document | {"buckets": tuple(document["buckets"]), "review": review})
