"""Tune: what a search tried in, a report and defaults.yaml out."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.tune.found_defaults import render_defaults
from components.tune.importance import importance
from components.tune.page import write_page
from components.tune.record import Record, read_record
from components.tune.tuning_job import read_tuning_job
from shared.component import storage
from shared.component.errors import InputError
from shared.component.files import write_text
from shared.vision.dataset import Dataset

log = logging.getLogger(__name__)
_COMPONENT = "train"  # whose trainings a tuning job's were; trials.json says it itself
_TEST_METRICS = ("accuracy", "macro_f1", "min_class_recall")


def run(
    *,
    trials: str,
    dataset: Path,
    metrics: Path,
    importance_trials: int,
    report: Path,
    defaults: Path,
) -> None:
    """Write the report of a search to `report` and its result to `defaults`."""
    record = find_record(trials)
    info = Dataset.open(dataset).info
    tested = _tested(metrics)
    complete = record.counts["complete"]
    shares = importance(record) if complete >= importance_trials else {}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    text = render_defaults(record, info, tested, date)
    write_page(report, record, info, tested, shares, importance_trials, text, date)
    write_text(defaults / "defaults.yaml", text)
    log.info(
        "%d trials, trial %d is the best: %s=%.4f",
        len(record.trials),
        record.best.number,
        record.metric,
        record.best.value,
    )


def find_record(place: str, client: Any = None) -> Record:
    """Return what a search has tried, by trials.json or by the tuning job that it names.

    client: boto3's of SageMaker; made where it is needed and none is given.

    Raises:
        InputError: nothing is known of it.
    """
    path = storage.local_path(place)
    if path is not None and path.is_file():
        return read_record(path)
    folder, _, name = place.rpartition("/")
    job = folder.rpartition("/")[2] if folder else name
    if folder and not place.startswith("s3://"):
        raise InputError(f"tune: nothing at {place}; give trials.json or a tuning job's name")
    if client is None:
        import boto3

        # A processing job is told its region by this name, which boto3 does not read.
        client = boto3.client("sagemaker", region_name=os.environ.get("AWS_REGION"))
    return read_tuning_job(client, job, _COMPONENT)


def _tested(folder: Path) -> dict[str, float]:
    """Return the winner's figures on the test images.

    Raises:
        InputError: evaluate's file is missing or damaged.
    """
    path = folder / "evaluation.json"
    try:
        found = json.loads(path.read_text())["metrics"]
        return {name: float(found[name]) for name in _TEST_METRICS}
    except FileNotFoundError as err:
        raise InputError(f"tune: {path} is missing; give the metrics that evaluate wrote") from err
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"tune: {path} is none of evaluate's: {err!r}; run evaluate") from err
