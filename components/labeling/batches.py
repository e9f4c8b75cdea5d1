"""Batches of images, a day each, and whether people agree enough for one to be used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from components.labeling.agreement import cohen_kappa, nominal_alpha
from components.labeling.queue_facts import QueueFacts


@dataclass(frozen=True)
class Batch:
    """The labelled images that were queued on one day.

    day: UTC. shared: images that two people or more labelled. alpha: Krippendorff's, None
    where too few images are shared or all labels are one. is_held: nothing of it is used
    but what was adjudicated.
    """

    day: str
    images: int
    shared: int
    alpha: float | None
    is_held: bool


@dataclass(frozen=True)
class Pair:
    """Two people on the images that both labelled; kappa is Cohen's, None: too few."""

    first: str
    second: str
    shared: int
    agreed: int
    kappa: float | None


Said = Mapping[str, Mapping[str, str]]  # label by voter by image (sha256)


def batches_of(said: Said, facts: QueueFacts, min_alpha: float, min_shared: int) -> list[Batch]:
    """Measure the agreement of each day.

    min_alpha: below it a batch is held. min_shared: with fewer shared images, or one label
        alone, agreement is not measured and the batch passes.
    """
    by_day: dict[str, list[str]] = defaultdict(list)
    for sha256 in said:
        if (day := day_of(sha256, facts)) and sha256 not in facts.gold:
            by_day[day].append(sha256)
    batches = []
    for day, images in sorted(by_day.items()):
        units = [list(said[sha256].values()) for sha256 in images]
        shared = sum(len(unit) > 1 for unit in units)
        alpha = nominal_alpha(units) if shared >= min_shared else None
        is_held = alpha is not None and alpha < min_alpha
        batches.append(Batch(day, len(images), shared, alpha, is_held))
    return batches


def day_of(sha256: str, facts: QueueFacts) -> str:
    """Return an image's batch, "" when its task is lost."""
    queued = facts.tasks.get(sha256) or facts.audit.get(sha256)
    return queued.day if queued else ""


def pairs_of(ballots: Iterable[Mapping[str, str]], min_shared: int) -> list[Pair]:
    """Compare each two people on the images they share; ballots: label by voter."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for ballot in ballots:
        for first, second in combinations(sorted(ballot), 2):
            found[first, second].append((ballot[first], ballot[second]))
    return [
        Pair(
            *names,
            len(pairs),
            sum(one == other for one, other in pairs),
            cohen_kappa(pairs) if len(pairs) >= min_shared else None,
        )
        for names, pairs in sorted(found.items())
    ]
