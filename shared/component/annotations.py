"""People's annotations from Label Studio: reading its bodies, and electing a label.

An annotation is one person's answer about one image. fetch_data, preprocess and labeling
share this one reading and this one election. Two forms of body are read: the objects that
the S3 target storage writes, one annotation each, and a JSON export, a list of tasks with
their annotations. Facts about both were measured with Label Studio 1.23.2.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# What reading a body that is no annotation raises.
NOT_AN_ANNOTATION = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    RecursionError,
    OverflowError,  # a whole number beyond what a float holds
)
# The origin of a choice that a person took over as it was; prediction-changed is the other.
ACCEPTED = "prediction"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One person's answer to one task.

    choices: as given, so none, several or unknown ones are possible.
    annotator: the person's number in Label Studio, "" when unknown.
    updated_at: ISO 8601, as given.
    origin: of the choice: manual, prediction (a suggestion as it was), prediction-changed;
        "" where Label Studio does not say.
    lead_time_s: seconds that the person took; negative when unknown.
    image_file: below an Annotations folder; "" where there is no file.
    """

    annotation_id: str
    task_id: str
    image_uri: str
    choices: tuple[str, ...]
    annotator: str
    was_cancelled: bool
    ground_truth: bool
    updated_at: str
    origin: str = ""
    lead_time_s: float = -1.0
    image_file: str = ""

    @property
    def voter(self) -> str:
        """Return who votes; an answer without a name is a person of its own."""
        return self.annotator or f"annotation {self.annotation_id}"

    @property
    def was_suggested(self) -> bool:
        """Tell whether the person started from a prediction."""
        return self.origin.startswith(ACCEPTED)

    @property
    def moment(self) -> tuple[float, str]:
        """Return when it was last changed, comparable; what is no time counts as oldest."""
        try:
            moment = datetime.fromisoformat(self.updated_at)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.timestamp(), ""
        except (ValueError, OverflowError):
            return 0.0, self.updated_at

    @property
    def age_key(self) -> tuple[Any, ...]:
        """Return a key that sorts answers by age and never leaves it to their order."""
        return (self.moment, self.annotation_id, self.choices, self.ground_truth)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people decided about one image.

    label: "" when as many say something else, and nobody adjudicated.
    annotators, annotations: who is behind the label, and by which answers; sorted.
    decided_by: majority, single, adjudication, or "" without a label.
    """

    label: str
    annotators: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    decided_by: str = ""


def parse(document: Any) -> Iterator[Annotation]:
    """Yield the annotations of an S3 object, a task, or a list of either.

    Raises:
        NOT_AN_ANNOTATION: one of these, when the document is something else.
    """
    if isinstance(document, list):
        for item in document:
            yield from parse(item)
    elif "annotations" in document:
        for body in document["annotations"]:
            yield _annotation(body, document)
    else:
        yield _annotation(document, document["task"])


def latest(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep the last state of each annotation: a sync writes all of them again."""
    found: dict[str, Annotation] = {}
    for annotation in annotations:
        known = found.get(annotation.annotation_id)
        if known is None or _state_key(annotation) > _state_key(known):
            found[annotation.annotation_id] = annotation
    return sorted(found.values(), key=lambda a: (a.task_id, a.annotation_id))


def rejection(annotation: Annotation) -> str:
    """Return why an answer is no vote whatever the classes, "" when it is one."""
    if annotation.was_cancelled:
        return "skipped"
    if not annotation.choices:
        return "empty answer"
    return "several labels" if len(set(annotation.choices)) > 1 else ""


def last_votes(ballot: Iterable[Annotation]) -> dict[str, Annotation]:
    """Return each person's last vote; ballot: the votes about one image."""
    return {vote.voter: vote for vote in sorted(ballot, key=lambda vote: vote.age_key)}


def elect(ballot: Sequence[Annotation]) -> Verdict:
    """Decide on one image: a vote a person, the last one; the majority counts.

    ballot: votes, so none of them has a `rejection`. An answer marked as ground truth in
        Label Studio, an adjudicator's word, beats them; of several the last.
    """
    truths = sorted((vote for vote in ballot if vote.ground_truth), key=lambda vote: vote.age_key)
    if truths:
        last = truths[-1]
        return Verdict(last.choices[0], (last.voter,), (last.annotation_id,), "adjudication")
    sides: dict[str, list[Annotation]] = defaultdict(list)
    for vote in last_votes(ballot).values():
        sides[vote.choices[0]].append(vote)
    (label, most), *others = Counter({k: len(v) for k, v in sides.items()}).most_common(2)
    if others and others[0][1] == most:
        return Verdict("")
    return Verdict(
        label,
        tuple(sorted(vote.voter for vote in sides[label])),
        tuple(sorted((vote.annotation_id for vote in sides[label]), key=_by_number)),
        "majority" if len(sides) > 1 or most > 1 else "single",
    )


def _by_number(annotation_id: str) -> tuple[int, str]:
    # By length, not int(), which refuses texts of more than 4,300 digits.
    return (len(annotation_id) if annotation_id.isdecimal() else sys.maxsize, annotation_id)


def _state_key(annotation: Annotation) -> tuple[Any, ...]:
    """Order the states of one annotation; equal times are told apart by what was said."""
    flags = (annotation.was_cancelled, annotation.annotator, annotation.image_uri)
    return (*annotation.age_key, *flags, annotation.origin, annotation.lead_time_s)


def _annotation(body: dict[str, Any], task: dict[str, Any]) -> Annotation:
    who = body.get("completed_by")
    regions = [region for region in body["result"] if region.get("type") == "choices"]
    return Annotation(  # interned: many answers share images, labels and names
        annotation_id=str(body["id"]),
        task_id=str(task["id"]),
        image_uri=sys.intern(_image_uri(task["data"])),
        choices=tuple(
            sys.intern(str(choice)) for region in regions for choice in region["value"]["choices"]
        ),
        annotator=sys.intern(str((who.get("id") if isinstance(who, dict) else who) or "")),
        was_cancelled=bool(body.get("was_cancelled")),
        ground_truth=bool(body.get("ground_truth")),
        updated_at=str(body.get("updated_at") or ""),
        origin=sys.intern(str(regions[0].get("origin") or "")) if regions else "",
        lead_time_s=_seconds(body.get("lead_time")),
    )


def _seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < float("inf") else -1.0


def _image_uri(data: dict[str, Any]) -> str:
    """Return the task's image; projects may call the field something else."""
    texts = [value for value in data.values() if isinstance(value, str)]
    uri = data.get("image") or (texts[0] if len(texts) == 1 else None)
    if not isinstance(uri, str):
        raise KeyError("image")
    return uri
