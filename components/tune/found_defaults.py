"""defaults.yaml: the winner's values, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from components.tune.record import Record
from shared.vision.dataset import DatasetInfo

_HEAD = """\
# Parameter defaults that a search has found. `python pipeline.py --adopt` puts this file beside
# pipeline.py; removing it there brings back the defaults of component.yaml.
"""
# What a value that is good here may not be good with.
_CONDITIONS = ("epochs", "image_size", "pretrained")


def render_defaults(
    record: Record, info: DatasetInfo, test_metrics: Mapping[str, float], date: str
) -> str:
    """Return the file's text.

    test_metrics: of the winner. date: of the search, ISO 8601.
    """
    best = record.best
    conditions = {name: _value(record.fixed[name]) for name in _CONDITIONS if name in record.fixed}
    before = {"value_before": record.before.value} if record.before else {}
    document = {
        "defaults": {
            f"{record.component}.{name}": _value(text) for name, text in best.parameters.items()
        },
        "provenance": {
            "study": record.study,
            "date": date,
            "objective": {"metric": record.metric, "value": best.value, **before},
            "trials": record.counts,
            "dataset_fingerprint": info.fingerprint,
            "test_fingerprint": info.test_fingerprint,
            "test_metrics": dict(test_metrics),
            "code": record.code,
            "seed": record.seed,
            "trained_with": conditions,
        },
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False)


def _value(text: str) -> Any:
    """Return a hyperparameter, a string, as what a person would write in YAML."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text, text)
