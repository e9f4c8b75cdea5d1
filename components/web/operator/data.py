"""The data report of the newest run that has one: what came in, what was left out and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from components.web.errors import Away, NotFound
from components.web.operator.asking import asking
from components.web.operator.records import Record
from components.web.operator.reports import ReportPage, open_report
from components.web.operator.runs import Runs
from shared.component.object_store import open_store

# Of pipeline.py: what writes the report, and its name.
_STEP, _OUTPUT = "Preprocess", "report"
_JSON, _PAGE = "report.json", "report.html"
_SHOWN = 100  # of each list; the report has all
SPLITS = ("train", "val", "test", "unlabelled")


class Quarantined(Record):
    source: str
    reason: str
    detail: str = ""


class Duplicate(Record):
    kept: str
    dropped: str


class Leak(Record):
    """A training image that is in the test set; exact: byte for byte."""

    train: str
    test: str
    exact: bool


class Labelled(Record):
    source: str
    label: str


class DataReport(Record):
    """images: by split and class. counts: exact, where the lists name the first hundred.

    reasons: quarantined images by reason. conflicts: one picture under several labels.
    """

    run: str
    classes: list[str]
    images: dict[str, dict[str, int]]
    counts: dict[str, int]
    reasons: dict[str, int]
    annotations: dict[str, int] = Field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    conflicts: tuple[list[Labelled], ...] = ()
    leaks: tuple[Leak, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()

    def total(self, split: str) -> int:
        return sum(self.images.get(split, {}).values())


@dataclass(frozen=True)
class DataSource:
    """Reports below S3, found through the runs."""

    runs: Runs
    s3: Any

    def get(self) -> DataReport:
        """Return the newest report.

        Raises:
            WebError: no run has one yet, it is damaged, or a service is away.
        """
        run, folder = self.runs.newest_output(_STEP, _OUTPUT)
        with asking("data report"):
            data = open_store(folder, self.s3).get(_JSON)
        if data is None:
            raise NotFound(f"data: the report of run {run} is not there any more")
        return read_report(data, run)

    def page(self) -> ReportPage:
        """Return the report's own page.

        Raises:
            WebError: as `get`.
        """
        _, folder = self.runs.newest_output(_STEP, _OUTPUT)
        return open_report(folder, _PAGE, self.s3)


def read_report(data: bytes, run: str) -> DataReport:
    """Read preprocess's report.json.

    Raises:
        Away: it is none.
    """
    try:
        body: Mapping[str, Any] = json.loads(data)
        return DataReport(
            run=run,
            classes=body["classes"],
            images=body["images"],
            counts=body["counts"],
            reasons=dict(Counter(each["reason"] for each in body["quarantined"]).most_common()),
            annotations=body["annotations"],
            quarantined=body["quarantined"][:_SHOWN],
            conflicts=[
                [Labelled(source=each["source"], label=each["class"]) for each in group]
                for group in body["label_conflicts"][:_SHOWN]
            ],
            leaks=body["leaks"][:_SHOWN],
            duplicates=body["duplicates"][:_SHOWN],
        )
    except (ValueError, KeyError, TypeError, ValidationError) as err:
        raise Away(f"data: the report of run {run} cannot be read: {err!r:.200}") from err
