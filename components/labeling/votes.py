"""Which answers are votes: what Label Studio lets through is sorted out, and counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.labeling.queue_facts import QueueFacts
from shared.component.annotations import Annotation, rejection
from shared.component.review_queue import IMAGES, sha256_of_key


@dataclass
class Votes:
    """The votes about each image, and what happened to every answer.

    by_image: by sha256; gold and audit images are among them.
    counts: answers by what became of them. skipped: images by who left them unanswered.
    """

    by_image: dict[str, list[Annotation]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def image_of(annotation: Annotation, queue_uri: str) -> str:
    """Return the sha256 of the image that was labelled, "" when it is none of the queue's."""
    folder = f"{queue_uri.rstrip('/')}/{IMAGES}"
    uri = annotation.image_uri
    name = uri.removeprefix(folder) if uri.startswith(folder) else ""
    return sha256_of_key(IMAGES + name)


def collect_votes(annotations: Iterable[Annotation], facts: QueueFacts, queue_uri: str) -> Votes:
    """Sort answers into votes and counted reasons.

    queue_uri: the sink; answers about images elsewhere are somebody else's.
    """
    votes = Votes()
    for annotation in annotations:
        sha256 = image_of(annotation, queue_uri)
        reason = _reason(annotation, sha256, facts)
        votes.counts[reason or "vote"] += 1
        if not reason:
            votes.by_image[sha256].append(annotation)
        elif reason == "skipped":
            votes.skipped[annotation.voter] += 1
    return votes


def _reason(annotation: Annotation, sha256: str, facts: QueueFacts) -> str:
    """Return why an answer is no vote, "" when it is one."""
    if not sha256:
        return "image not in the queue"
    if reason := rejection(annotation):
        return reason
    if annotation.choices[0] not in facts.classes:
        return "unknown label"
    is_known = sha256 in facts.tasks or sha256 in facts.gold or sha256 in facts.drawn
    # An image comes before its task, and only the task may say that it is of the audit.
    return "" if is_known else "task not there yet"
