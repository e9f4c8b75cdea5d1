"""What people decided: from answers and the queue's facts to labels, all of it pure.

In this order: answers that are no votes go, annotators who do not know the gold images go,
each image is decided by its votes, days on which people agree too little are held back, and
gold and audit images leave, since they measure and are never trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.labeling.annotators import Annotator, judge
from components.labeling.audit import ModelAudit, measure
from components.labeling.batches import Batch, Pair, batches_of, day_of, pairs_of
from components.labeling.queue_facts import QueueFacts
from components.labeling.votes import collect_votes
from shared.component.annotation_manifest import Label
from shared.component.annotations import Annotation, Verdict, elect, last_votes

ADJUDICATION = "adjudication"


@dataclass(frozen=True)
class Rules:
    """The parameters of the merge; component.yaml says what each is."""

    blind_share: float = 0.1
    min_alpha: float = 0.667
    min_shared: int = 20
    min_gold: float = 0.8


@dataclass
class Decision:
    """What becomes of every image and answer.

    labels: for training, sorted by sha256.
    answers, images: their number by what became of them.
    to_adjudicate: URIs of images on which as many say something else.
    """

    labels: list[Label] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    to_adjudicate: list[str] = field(default_factory=list)
    annotators: dict[str, Annotator] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    audit: list[ModelAudit] = field(default_factory=list)


def decide(
    annotations: Sequence[Annotation], facts: QueueFacts, queue_uri: str, rules: Rules
) -> Decision:
    """Decide on every labelled image.

    annotations: the last state of each, in any order.
    queue_uri: the sink below which the labelled images lie.
    """
    votes = collect_votes(annotations, facts, queue_uri)
    annotators = judge(votes, facts, rules.blind_share, rules.min_gold)
    ballots: dict[str, list[Annotation]] = {}
    for sha256, ballot in sorted(votes.by_image.items()):
        heard = [vote for vote in ballot if not annotators[vote.voter].is_left_out]
        votes.counts["annotator left out"] += len(ballot) - len(heard)
        votes.counts["vote"] -= len(ballot) - len(heard)
        if heard:
            ballots[sha256] = heard
    said = {
        sha256: {voter: vote.choices[0] for voter, vote in last_votes(ballot).items()}
        for sha256, ballot in ballots.items()
    }
    decision = Decision(answers=+votes.counts, annotators=annotators)
    decision.batches = batches_of(said, facts, rules.min_alpha, rules.min_shared)
    decision.pairs = pairs_of(said.values(), rules.min_shared)
    _settle(decision, ballots, facts)
    return decision


def _settle(
    decision: Decision, ballots: Mapping[str, Sequence[Annotation]], facts: QueueFacts
) -> None:
    """Give each image its place, and measure the model on the audit sample."""
    held_days = {batch.day for batch in decision.batches if batch.is_held}
    agreed: dict[str, str] = {}
    held: set[str] = set()
    led: set[str] = set()
    for sha256, ballot in ballots.items():
        if sha256 in facts.gold:
            decision.images["gold"] += 1
            continue
        verdict = elect(ballot)
        is_audit = sha256 in facts.drawn
        if any(vote.was_suggested for vote in ballot):
            led.add(sha256)
        place = _place(verdict, day_of(sha256, facts) in held_days)
        if place:
            held.add(sha256)
        else:
            agreed[sha256] = verdict.label
        if not verdict.label:
            decision.to_adjudicate.append(ballot[0].image_uri)
        decision.images["audit" if is_audit else place or "label"] += 1
        if not is_audit and not place:
            decision.labels.append(_label(sha256, ballot[0].image_uri, verdict))
    measured = {s: queued for s, queued in facts.audit.items() if s not in facts.gold}
    decision.audit = measure(measured, agreed, held, led)


def _place(verdict: Verdict, is_day_held: bool) -> str:
    """Return why a decision is not used, "" when it is."""
    if not verdict.label:
        return "held: people disagree"
    is_exempt = verdict.decided_by == ADJUDICATION
    return "held: its batch agrees too little" if is_day_held and not is_exempt else ""


def _label(sha256: str, image: str, verdict: Verdict) -> Label:
    return Label(
        sha256,
        image,
        verdict.label,
        verdict.annotators,
        verdict.annotations,
        verdict.decided_by,
    )
