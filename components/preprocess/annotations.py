"""Turn annotations into labels: one vote a person, the majority counts.

An answer marked as ground truth in Label Studio, an adjudicator's word, beats votes. Labels
of an annotation manifest stand as they are: there the vote has been held. What does not
become a label is counted by reason.
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
from shared.component.annotations import Annotation, elect, rejection
from shared.vision.errors import DatasetError


@dataclass(frozen=True)
class Decided:
    """The label of one image in an annotation manifest, and who is behind it."""

    image_file: str
    image_uri: str
    label: str
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """What fetch_data collected; image_file is a path here, "" where there is no file."""

    votes: Sequence[Annotation] = ()
    decided: Sequence[Decided] = ()


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


def read_answers(folder: Path | None) -> Answers:
    """Read annotations.json; no folder means no answers.

    Raises:
        DatasetError: annotations.json is missing or damaged.
    """
    if folder is None:
        return Answers()
    path = folder / "annotations.json"
    try:
        document = json.loads(path.read_text())
        return Answers(
            [_vote(item, folder) for item in document.get("annotations", [])],
            [_decided(item, folder) for item in document.get("labels", [])],
        )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DatasetError(
            f"preprocess: {path} is missing or damaged ({err}); run fetch_data again"
        ) from err


def candidates(answers: Answers) -> list[Candidate]:
    """Return the images that the answers are about."""
    uris = {a.image_file: a.image_uri for a in (*answers.votes, *answers.decided) if a.image_file}
    return [
        Candidate(ImageRef(file), "annotation", None, uri) for file, uri in sorted(uris.items())
    ]


def merge(
    train: Sequence[ScannedImage],
    test: Sequence[ScannedImage],
    annotated: Mapping[str, ScannedImage],
    answers: Answers,
    bits: int,
) -> tuple[list[ScannedImage], Merge]:
    """Add people's labels to the training images, and to nothing else.

    annotated: the images by file name, usable or not.
    bits: an annotated image within so many bits of a test image is dropped.
    """
    merged = Merge()
    classes = {image.class_name or "" for image in train}
    labels = _elected(answers.votes, annotated, classes, merged)
    labels += _decided_labels(answers.decided, annotated, classes, merged)
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


def _elected(
    votes: Sequence[Annotation],
    annotated: Mapping[str, ScannedImage],
    classes: set[str],
    merged: Merge,
) -> list[tuple[ScannedImage, str]]:
    """Return each image on whose label people agree, once, with that label."""
    images: dict[str, ScannedImage] = {}
    ballots: dict[str, list[Annotation]] = defaultdict(list)
    for vote in votes:
        image = annotated.get(vote.image_file)
        reason = rejection(vote) or _unusable(vote.choices[0], image, classes)
        if reason:
            merged.counts[reason] += 1
        elif image is not None:
            images.setdefault(image.sha256, image)
            ballots[image.sha256].append(vote)
    labels = []
    for sha256, image in sorted(images.items()):
        verdict = elect(ballots[sha256])
        if not verdict.label:
            merged.counts["disagreement"] += 1
            continue
        merged.annotators[sha256] = verdict.annotators
        labels.append((image, verdict.label))
    return labels


def _decided_labels(
    decided: Sequence[Decided],
    annotated: Mapping[str, ScannedImage],
    classes: set[str],
    merged: Merge,
) -> list[tuple[ScannedImage, str]]:
    """Return the images of a manifest with its labels: the election is not held again."""
    labels = []
    for item in decided:
        image = annotated.get(item.image_file)
        if reason := _unusable(item.label, image, classes):
            merged.counts[reason] += 1
        elif image is not None:
            merged.annotators[image.sha256] = item.annotators
            labels.append((image, item.label))
    return labels


def _unusable(label: str, image: ScannedImage | None, classes: set[str]) -> str:
    """Return why a label cannot be trained on, "" when it can."""
    if label not in classes:
        return "unknown label"
    if image is None:
        return "image not fetched"
    return "image unusable" if image.problem else ""


def _vote(item: dict[str, Any], folder: Path) -> Annotation:
    fields = {name: item[name] for name in Annotation.__dataclass_fields__ if name in item}
    choices, file = tuple(item["choices"]), _located(item["image_file"], folder)
    return Annotation(**fields | {"choices": choices, "image_file": file})


def _decided(item: dict[str, Any], folder: Path) -> Decided:
    file = _located(item["image_file"], folder)
    return Decided(file, item["image_uri"], item["label"], tuple(item["annotators"]))


def _located(image_file: str, folder: Path) -> str:
    return str(folder / image_file) if image_file else ""
