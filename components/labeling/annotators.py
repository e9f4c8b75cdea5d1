"""How each person labels: gold images known, suggestions taken, speed; who is left out.

Nobody is judged by the few images that others happened to label as well, but by gold
images, whose labels are certain, and by blind ones, which they saw without a suggestion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from components.labeling.blind import is_blind
from components.labeling.proportions import Proportion
from components.labeling.queue_facts import QueueFacts
from components.labeling.votes import Votes
from shared.component.annotations import ACCEPTED, Annotation, last_votes

_LEAST_GOLD = 5  # fewer say too little to leave somebody out
_LEAST_BLIND = 5
_LEAST_SUGGESTED = 20
_ACCEPTS_ALL = 0.98
_CLEARLY = 0.05  # with thousands of images a hundredth would be beyond chance, too


@dataclass(frozen=True)
class Annotator:
    """One person's figures, of last votes alone.

    images: labelled. skipped: answers without a label.
    gold: gold images known. accepted: suggested images whose suggestion was taken unchanged.
    with_suggestion, blind: images on which the person and the model agree, with and without
        a suggestion. The blind ones are a share of the same kind of image; the audit sample,
        on which models are surer, is not among them.
    median_s: seconds an image, None when nothing is known.
    is_left_out: knew too few gold images; no vote of theirs counts.
    """

    name: str
    images: int
    skipped: int
    gold: Proportion
    accepted: Proportion
    with_suggestion: Proportion
    blind: Proportion
    median_s: float | None
    is_left_out: bool

    @property
    def warning(self) -> str:
        """Return what an operator should look at, with the figures that say so."""
        rate = self.accepted.share
        if rate is None or self.accepted.total < _LEAST_SUGGESTED or rate < _ACCEPTS_ALL:
            return ""
        said = f"takes {rate:.0%} of {self.accepted.total} suggestions"
        lower = [
            f"{what} {part.hits} of {part.total}"
            for what, part, least in (
                ("agrees without one on", self.blind, _LEAST_BLIND),
                ("knows gold images", self.gold, _LEAST_GOLD),
            )
            if part.total >= least and part.interval[1] < rate - _CLEARLY
        ]
        if lower:
            return f"accepts everything: {said}, but {' and '.join(lower)}"
        if self.blind.total < _LEAST_BLIND and self.gold.total < _LEAST_GOLD:
            return f"{said}; too few blind or gold images to say whether rightly"
        return ""


def judge(
    votes: Votes, facts: QueueFacts, blind_share: float, min_gold: float
) -> dict[str, Annotator]:
    """Return the figures of everybody who gave or skipped an answer, by voter.

    blind_share: as the backend has it. min_gold: share of gold images to be known, from
        five of them on.
    """
    last: dict[str, dict[str, Annotation]] = defaultdict(dict)
    for sha256, ballot in votes.by_image.items():
        for voter, vote in last_votes(ballot).items():
            last[voter][sha256] = vote
    names = sorted(last.keys() | votes.skipped.keys())
    return {
        name: _figures(name, last.get(name, {}), votes.skipped[name], facts, blind_share, min_gold)
        for name in names
    }


def _figures(
    name: str,
    votes: Mapping[str, Annotation],
    skipped: int,
    facts: QueueFacts,
    blind_share: float,
    min_gold: float,
) -> Annotator:
    gold = _share(vote.choices[0] == facts.gold[s] for s, vote in votes.items() if s in facts.gold)
    others = {
        sha256: vote
        for sha256, vote in votes.items()
        if sha256 in facts.tasks and sha256 not in facts.gold and sha256 not in facts.drawn
    }
    blind = {sha256 for sha256 in others if is_blind(sha256, blind_share)}
    agrees = {s: vote.choices[0] == facts.tasks[s].label for s, vote in others.items()}
    times = [vote.lead_time_s for vote in votes.values() if vote.lead_time_s >= 0]
    known = gold.share
    return Annotator(
        name=name,
        images=len(votes),
        skipped=skipped,
        gold=gold,
        accepted=_share(_is_accepted(v, agrees[s]) for s, v in others.items() if s not in blind),
        with_suggestion=_share(agrees[sha256] for sha256 in others if sha256 not in blind),
        blind=_share(agrees[sha256] for sha256 in blind),
        median_s=median(times) if times else None,
        is_left_out=known is not None and gold.total >= _LEAST_GOLD and known < min_gold,
    )


def _is_accepted(vote: Annotation, is_same: bool) -> bool:
    """Tell whether the suggestion stands; without Label Studio's word the labels say it."""
    return vote.origin == ACCEPTED if vote.origin else is_same


def _share(facts: Iterable[bool]) -> Proportion:
    found = list(facts)
    return Proportion(sum(found), len(found))
