"""How the labelling loop stands: what waits for people, what they said, how well they agree.

Counts come from the review queue and `labels/current.json`, everything else from the report
that the labelling component's merge writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field, ValidationError

from components.web.errors import Away
from components.web.operator.asking import Part, asking, attempt
from components.web.operator.records import Record
from shared.component import review_queue
from shared.component.annotation_manifest import CURRENT, read_current
from shared.component.object_store import ObjectStore, open_store

_REPORT = "report.json"
_MOST_COUNTED = 20_000  # twenty calls of S3's list; beyond it the number matters little
_DAYS = 14


class Share(Record):
    """So many of so many, with its 95 % interval; share: None without any."""

    hits: int
    total: int
    share: float | None = None
    low: float
    high: float


class Day(Record):
    day: str
    images: int


class Queue(Record):
    """Images that were ever brought to people; a count of 20,000 may be more."""

    tasks: int
    audit: int
    feedback: list[Day]


class Batch(Record):
    """The labelled images of one day; alpha: Krippendorff's, None: too few are shared."""

    day: str
    images: int
    shared: int
    alpha: float | None = None
    is_held: bool


class Annotator(Record):
    """One person's figures; accepted: suggestions taken unchanged; median_s: an image."""

    name: str
    images: int
    skipped: int
    gold: Share
    accepted: Share
    blind: Share
    median_s: float | None = None
    is_left_out: bool
    warning: str = ""


class Audit(Record):
    """One model version on the audit sample: drawn at random, never trained on."""

    model_version: str
    drawn: int
    accuracy: Share
    held: int
    unlabelled: int


class Merged(Record):
    """What the last merge said."""

    labels: int
    to_adjudicate: int
    images: dict[str, int] = Field(default_factory=dict)
    batches: tuple[Batch, ...] = ()
    annotators: tuple[Annotator, ...] = ()
    audit: tuple[Audit, ...] = ()


class Labelling(Record):
    """Each part is None where it is not there yet, or away: `problems` says which and why."""

    label_studio: str = ""
    queue: Queue | None = None
    labelled: int | None = None
    merged: Merged | None = None
    problems: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class LabellingSource:
    """sink: of the endpoint. labels, report: places; label_studio: an address; "": none."""

    sink: str
    labels: str
    report: str
    label_studio: str
    s3: Any

    def get(self) -> Labelling:
        """Return what can be read; what is away does not hide the rest."""
        parts: dict[str, Part[Any]] = {
            "queue": attempt(self._queue),
            "labelled": attempt(self._labelled),
            "merged": attempt(self._merged),
        }
        return Labelling(
            label_studio=self.label_studio,
            **{name: part.value for name, part in parts.items()},
            problems={name: part.problem for name, part in parts.items() if part.problem},
        )

    def _queue(self) -> Queue | None:
        if not self.sink:
            return None
        with asking("review queue"):
            store = open_store(self.sink, self.s3)
            days = Counter(
                PurePosixPath(entry.key).parent.name
                for entry in islice(store.list(review_queue.FEEDBACK), _MOST_COUNTED)
            )
            return Queue(
                tasks=_count(store, review_queue.TASKS),
                audit=_count(store, review_queue.AUDIT),
                feedback=[Day(day=d, images=n) for d, n in sorted(days.items())[-_DAYS:]],
            )

    def _labelled(self) -> int | None:
        if not self.labels:
            return None
        with asking("labels"):
            data = open_store(self.labels, self.s3).get(CURRENT)
            return read_current(data, f"{self.labels}/{CURRENT}").images if data else None

    def _merged(self) -> Merged | None:
        if not self.report:
            return None
        with asking("merge's report"):
            data = open_store(self.report, self.s3).get(_REPORT)
        return read_merged(data) if data else None


def read_merged(data: bytes) -> Merged:
    """Read merge's report.json.

    Raises:
        Away: it is none, or of another schema.
    """
    try:
        body: Mapping[str, Any] = json.loads(data)
        return Merged(
            labels=body["labels"],
            to_adjudicate=body["to_adjudicate"]["count"],
            images=body["images"],
            batches=body["batches"],
            annotators=body["annotators"],
            audit=body["audit"],
        )
    except (ValueError, KeyError, TypeError, ValidationError) as err:
        raise Away(
            "merge's report cannot be read; `python -m components.labeling merge` writes it anew"
        ) from err


def _count(store: ObjectStore, prefix: str) -> int:
    return sum(1 for _ in islice(store.list(prefix), _MOST_COUNTED))
