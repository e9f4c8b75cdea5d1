"""How good the model is in production, by the audit sample: drawn at random, never trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from components.labeling.proportions import Proportion
from components.labeling.queue_facts import Queued

_LEAST_PER_CLASS = 10  # below it an interval spans nearly everything


@dataclass
class ModelAudit:
    """One model version on the audit sample.

    drawn: images. right: of those that have a label, how many the model had right.
    held: images whose label waits for adjudication or whose batch is held back.
    unlabelled: images that nobody has labelled yet.
    led: images that were labelled with a suggestion in sight, before they were drawn: who
        follows it makes the model look better than it is, so they measure nothing.
    by_class: right answers by the label people gave, where enough images have it.
    """

    model_version: str
    drawn: int = 0
    right: Proportion = field(default_factory=lambda: Proportion(0, 0))
    held: int = 0
    unlabelled: int = 0
    led: int = 0
    by_class: dict[str, Proportion] = field(default_factory=dict)


def measure(
    audit: Mapping[str, Queued], labels: Mapping[str, str], held: set[str], led: set[str]
) -> list[ModelAudit]:
    """Measure every model version that the sample has seen, the one drawn from last at the end.

    audit: what a model said, by sha256. labels: what people decided. held: images whose
        label may not be used. led: images labelled with a suggestion in sight.
    """
    versions: dict[str, ModelAudit] = {}
    last_day: dict[str, str] = {}
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for sha256, queued in sorted(audit.items()):
        version = queued.model_version
        model = versions.setdefault(version, ModelAudit(version))
        model.drawn += 1
        last_day[version] = max(queued.day, last_day.get(version, ""))
        if sha256 in led:
            model.led += 1
        elif sha256 in held:
            model.held += 1
        elif sha256 not in labels:
            model.unlabelled += 1
        else:
            hits[version][labels[sha256]].append(labels[sha256] == queued.label)
    for version, model in versions.items():
        by_class = {name: Proportion(sum(h), len(h)) for name, h in hits[version].items()}
        model.right = Proportion(
            sum(p.hits for p in by_class.values()), sum(p.total for p in by_class.values())
        )
        model.by_class = {
            name: p for name, p in sorted(by_class.items()) if p.total >= _LEAST_PER_CLASS
        }
    return [versions[name] for name in sorted(versions, key=lambda name: (last_day[name], name))]
