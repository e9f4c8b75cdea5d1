"""What merge tells people: report.json for programs, report.html for whoever looks after labels.

Nothing in it depends on the time, so that a merge that found nothing new writes nothing.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.labeling.decide import Decision, Rules
from components.labeling.proportions import Proportion
from components.labeling.queue_facts import QueueFacts
from components.labeling.reading import Reading
from shared.component.annotation_manifest import Label
from shared.component.object_store import ObjectStore

_NAMED = 100  # keys and images a report names; their number is always exact
REPORT = "report.json"


@dataclass(frozen=True)
class MergeContext:
    """What was read. fingerprint: "" while there are no labels; before: the last labels."""

    fingerprint: str
    before: tuple[Label, ...]
    facts: QueueFacts
    reading: Reading


@dataclass(frozen=True)
class Changes:
    """Images by what the manifest before said of them; left_for_audit is a part of left."""

    new: int
    other_label: int
    left: int
    left_for_audit: int


def changes_of(decision: Decision, context: MergeContext) -> Changes:
    """Compare with the manifest that counted before."""
    before = {label.sha256: label.label for label in context.before}
    after = {label.sha256: label.label for label in decision.labels}
    both = before.keys() & after.keys()
    left = before.keys() - after.keys()
    return Changes(
        len(after) - len(both),
        sum(before[sha256] != after[sha256] for sha256 in both),
        len(left),
        len(left & context.facts.drawn),
    )


def write_report(
    store: ObjectStore, decision: Decision, context: MergeContext, rules: Rules
) -> bool:
    """Write the report unless the same is there; return whether it was written.

    Raises:
        StorageError: the place cannot be read or written.
    """
    document = _document(decision, context, rules)
    data = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
    if store.get(REPORT) == data:
        return False
    from components.labeling.merge_page import build_page  # matplotlib takes a second

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_page(decision, context, changes_of(decision, context), rules).write(folder, document)
        files = [path for path in folder.rglob("*") if path.is_file()]
        # report.json last: while it is the old one, the next merge writes all again.
        for path in sorted(files, key=lambda path: path.name == REPORT):
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
    return True


def _document(decision: Decision, context: MergeContext, rules: Rules) -> dict[str, Any]:
    reading, damaged = context.reading, context.facts.damaged
    return {
        "schema": 1,
        "fingerprint": context.fingerprint,
        "labels": len(decision.labels),
        "rules": asdict(rules),
        "objects": reading.objects,
        "answers": dict(decision.answers),
        "images": dict(decision.images),
        "changes": asdict(changes_of(decision, context)),
        "unreadable": {"count": len(reading.unreadable), "keys": reading.unreadable[:_NAMED]},
        "damaged_tasks": {"count": len(damaged), "keys": damaged[:_NAMED]},
        "to_adjudicate": {
            "count": len(decision.to_adjudicate),
            "images": decision.to_adjudicate[:_NAMED],
        },
        "batches": [asdict(batch) for batch in decision.batches],
        "pairs": [asdict(pair) for pair in decision.pairs],
        "annotators": [
            {
                **asdict(annotator),
                "warning": annotator.warning,
                **{
                    part: _proportion(getattr(annotator, part))
                    for part in ("gold", "accepted", "with_suggestion", "blind")
                },
            }
            for annotator in decision.annotators.values()
        ],
        "audit": [
            {
                "model_version": model.model_version,
                "drawn": model.drawn,
                "accuracy": _proportion(model.right),
                "held": model.held,
                "unlabelled": model.unlabelled,
                "led": model.led,
                "by_class": {name: _proportion(part) for name, part in model.by_class.items()},
            }
            for model in decision.audit
        ],
    }


def _proportion(part: Proportion) -> dict[str, Any]:
    low, high = part.interval
    share = part.share
    return {
        "hits": part.hits,
        "total": part.total,
        "share": None if share is None else round(share, 6),
        "low": round(low, 6),
        "high": round(high, 6),
    }
