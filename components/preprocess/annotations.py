"""Turn annotations into labels: one vote a person, the majority counts.

An answer marked as ground truth in Label Studio, an adjudicator's word, beats votes.
What does not become a label is counted by reason.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.preprocess.rules import Pair, without_leaks
from components.preprocess.scan import Candidate, ImageRef, ScannedImage
from shared.vision.errors import DatasetError


@dataclass(frozen=True)
class Vote:
    """One person's answer about one image, as fetch_data collected it."""

    image_file: str
    image_uri: str
    choices: tuple[str, ...]
    annotator: str
    was_cancelled: bool
    ground_truth: bool
    updated_at: str
    annotation_id: str

    @property
    def voter(self) -> str:
        """Return who votes; an answer without a name is a person of its own."""
        return self.annotator or f"annotation {self.annotation_id}"


@dataclass
class Merge:
    """The outcome: images with people's labels, and what happened to every answer.

    annotators: who is behind the label of the image with this sha256.
    counts: answers and images by what became of them.
    """

    annotators: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    test_images: list[Pair] = field(default_factory=list)
    corrections: list[tuple[ScannedImage, str]] = field(default_factory=list)


def read_votes(folder: Path | None) -> list[Vote]:
    """Read annotations.json; no folder means no votes.

    Raises:
        DatasetError: annotations.json is missing or damaged.
    """
    if folder is None:
        return []
    path = folder / "annotations.json"
    try:
        document = json.loads(path.read_text())
        return [_vote(item) for item in document.get("annotations", [])]
    except (OSError, ValueError, KeyError) as err:
        raise DatasetError(
            f"preprocess: {path} is missing or damaged ({err}); run fetch_data again"
        ) from err


def candidates(folder: Path | None, votes: Sequence[Vote]) -> list[Candidate]:
    """Return the images that the votes are about."""
    uris = {vote.image_file: vote.image_uri for vote in votes if vote.image_file}
    return [
        Candidate(ImageRef(str((folder or Path()) / file)), "annotation", None, uri)
        for file, uri in sorted(uris.items())
    ]


def merge(
    train: Sequence[ScannedImage],
    test: Sequence[ScannedImage],
    annotated: Mapping[str, ScannedImage],
    votes: Sequence[Vote],
    bits: int,
) -> tuple[list[ScannedImage], Merge]:
    """Add people's labels to the training images, and to nothing else.

    annotated: the images by file name, usable or not.
    bits: an annotated image within so many bits of a test image is dropped.
    """
    merged = Merge()
    classes = {image.class_name or "" for image in train}
    labels = _labels(votes, annotated, classes, merged)
    chosen = [replace(image, class_name=label) for image, label in labels]
    harmless = without_leaks(chosen, test, bits, merged.test_images)
    merged.counts += Counter({"of a test image": len(merged.test_images)})
    by_hash = {image.sha256: image for image in train}
    for image in harmless:
        known = by_hash.get(image.sha256)
        if known is None:
            merged.counts["new image"] += 1
            by_hash[image.sha256] = image
            continue
        is_same = known.class_name == image.class_name
        merged.counts["label confirmed" if is_same else "label corrected"] += 1
        if not is_same:
            merged.corrections.append((known, image.class_name or ""))
        by_hash[image.sha256] = replace(known, class_name=image.class_name)
    used = {image.sha256 for image in harmless}
    merged.annotators = {sha: who for sha, who in merged.annotators.items() if sha in used}
    return list(by_hash.values()), merged


def _labels(
    votes: Sequence[Vote],
    annotated: Mapping[str, ScannedImage],
    classes: set[str],
    merged: Merge,
) -> list[tuple[ScannedImage, str]]:
    """Return each image on whose label people agree, once, with that label."""
    images: dict[str, ScannedImage] = {}
    ballots: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        image = annotated.get(vote.image_file)
        if reason := _rejection(vote, image, classes):
            merged.counts[reason] += 1
        elif image is not None:
            images.setdefault(image.sha256, image)
            ballots[image.sha256].append(vote)
    labels = []
    for sha256, image in sorted(images.items()):
        voters, label = _elect(ballots[sha256])
        if label is None:
            merged.counts["disagreement"] += 1
            continue
        merged.annotators[sha256] = voters
        labels.append((image, label))
    return labels


def _rejection(vote: Vote, image: ScannedImage | None, classes: set[str]) -> str:
    """Return why an answer is no vote, "" when it is one."""
    if vote.was_cancelled:
        return "skipped"
    if not vote.choices:
        return "empty answer"
    if len(set(vote.choices)) > 1:
        return "several labels"
    if vote.choices[0] not in classes:
        return "unknown label"
    if image is None:
        return "image not fetched"
    return "image unusable" if image.problem else ""


def _elect(ballot: Sequence[Vote]) -> tuple[tuple[str, ...], str | None]:
    """Return who decided and the label; None when as many say something else."""
    ordered = sorted(ballot, key=lambda vote: (vote.updated_at, vote.annotation_id))
    if truths := [vote for vote in ordered if vote.ground_truth]:
        return (truths[-1].voter,), truths[-1].choices[0]
    last = {vote.voter: vote.choices[0] for vote in ordered}
    (winner, most), *others = Counter(last.values()).most_common()
    if others and others[0][1] == most:
        return (), None
    return tuple(sorted(who for who, label in last.items() if label == winner)), winner


def _vote(item: dict[str, Any]) -> Vote:
    return Vote(
        **{name: item[name] for name in Vote.__dataclass_fields__}
        | {"choices": tuple(item["choices"])}
    )
