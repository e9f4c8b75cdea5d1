"""A review queue, annotations and labels in folders, as the merge finds them on S3."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.labeling.decide import Rules
from components.labeling.merge import MergeOutcome, MergeSettings, MergeStores, run_merge
from shared.component.annotation_manifest import CURRENT, Label, read_manifest
from shared.component.object_store import FolderStore
from shared.component.review_queue import (
    GOLD,
    LOW_CONFIDENCE,
    SAMPLED,
    ReviewTask,
    audit_key,
    image_key,
    task_key,
)

QUEUE = "s3://capture/endpoint"
CLASSES = ("lake", "road", "snow")
DAY_S = 86400.0
START_S = 20_000 * DAY_S  # 2024-10-04


def sha256(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def image_uri(digest: str) -> str:
    return f"{QUEUE}/{image_key(digest)}.jpg"


def body(  # what Label Studio 1.23 writes, as far as anybody reads it
    number: int, digest: str, choice: str | None, who: int = 1, **changes: Any
) -> dict[str, Any]:
    origin = changes.pop("origin", None)
    value = {"type": "choices", "from_name": "label", "value": {"choices": [choice]}}
    region = value | ({"origin": origin} if origin else {})
    return {
        "id": number,
        "result": [] if choice is None else [region],
        "completed_by": {"id": who, "email": "a@example.com"},
        "task": {"id": int(digest[:7], 16), "data": {"image": image_uri(digest)}},
        "was_cancelled": False,
        "ground_truth": False,
        "created_ago": "1 minute",
        "updated_at": f"2026-01-01T00:00:00.{number % 1_000_000:06d}Z",
        "lead_time": 2.5,
    } | changes


@dataclass
class World:
    """Places in a folder of a test, and what is in them."""

    folder: Path
    rules: Rules = field(default_factory=lambda: Rules(blind_share=0.0))
    number: int = 0

    @property
    def stores(self) -> MergeStores:
        places = ("queue", "annotations", "labels", "report")
        return MergeStores(*(FolderStore(self.folder / name) for name in places))

    @property
    def settings(self) -> MergeSettings:
        return MergeSettings(QUEUE, "s3://data/annotations", "s3://data/labels", "", self.rules)

    def queue(
        self,
        name: object,
        label: str = "lake",
        *,
        day: int = 0,
        version: str = "v1",
        is_audit: bool = False,
        reasons: tuple[str, ...] = (LOW_CONFIDENCE,),
    ) -> str:
        """Queue an image and return its sha256; label: what the model says."""
        digest = sha256(name)
        task = ReviewTask(
            image=f"{image_key(digest)}.jpg",
            model_version=version,
            label=label,
            confidence=0.5,
            labels=CLASSES,
            probabilities=(0.5, 0.3, 0.2),
            reasons=(*reasons, SAMPLED) if is_audit else reasons,
            request_id="r",
            time=START_S + day * DAY_S + 60,
        )
        self.stores.queue.put(task_key(digest), task.encode())
        if is_audit:
            self.stores.queue.put(audit_key(digest), task.encode())
        return digest

    def gold(self, **labels: str) -> None:
        """Put the list of gold images, by name."""
        document = {"schema": 1, "gold": {sha256(n): label for n, label in labels.items()}}
        self.stores.queue.put(GOLD, json.dumps(document).encode())

    def annotate(
        self, digest: str, choice: str | None, who: int = 1, number: int = 0, **changes: Any
    ) -> str:
        """Write an annotation as Label Studio does, and return its key; number: 0 for a new one."""
        self.number += 1
        number = number or self.number
        answer = body(number, digest, choice, who, **changes)
        self.stores.annotations.put(str(number), json.dumps(answer).encode())
        return str(number)

    def merge(self, stores: MergeStores | None = None) -> MergeOutcome:
        return run_merge(self.settings, stores or self.stores)

    def labels(self) -> dict[str, Label]:
        """Return what the manifest that counts says, by sha256."""
        current = self.current()
        data = (self.folder / "labels" / current["manifest"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == current["fingerprint"]
        manifest = read_manifest(data, "manifest")
        assert len(manifest.labels) == current["images"]
        return {label.sha256: label for label in manifest.labels}

    def current(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "labels" / CURRENT).read_text())
        return document

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "report/report.json").read_text())
        return document

    def written(self) -> dict[str, tuple[int, int]]:
        """Return every file that others read of a merge, with what changes when it is written."""
        return {
            str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
            for name in ("labels", "report")
            for path in (self.folder / name).rglob("*")
            if path.is_file() and path.suffix in (".json", ".html", ".png")
        }
