"""The data report: what came in, what was left out and why, with the pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from components.preprocess.curation import Curation
from components.preprocess.scan import ScannedImage
from shared.vision.errors import ImageError
from shared.vision.images import decode_rgb
from shared.vision.report import Report, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 24  # pictures a section; report.json lists all
_LISTED = 10_000  # lines a list in report.json
_THUMB_PX = 120
_SPLIT_COLOURS = {"train": "#3b6fb6", "val": "#8fb3dd", "test": "#e0913a"}


def write_report(curation: Curation, folder: Path) -> None:
    """Write report.json, report.html and its pictures."""
    report = Report("Data report", _lead(curation))
    _overview(report, curation)
    _quarantine(report, curation)
    _conflicts(report, curation)
    _leaks(report, curation)
    _duplicates(report, curation)
    _conversions(report, curation)
    _annotations(report, curation)
    report.write(folder, _facts(curation))


def _lead(curation: Curation) -> str:
    kept = sum(map(len, curation.splits.values()))
    found = curation.findings
    out = len(found.quarantined) + len(found.duplicates) + len(found.leaks)
    out += len({image.source for group in found.conflicts for image in group})
    return (
        f"{kept:,} images of {len(curation.classes)} classes are ready: "
        f"{len(curation.splits['train']):,} to train on, {len(curation.splits['val']):,} to "
        f"validate, {len(curation.splits['test']):,} to test. {out:,} were left out, each for a "
        "reason given below."
    )


def _overview(report: Report, curation: Curation) -> None:
    section = report.section("What is in the data set")
    found = curation.findings
    section.figures(
        [
            ("training", f"{len(curation.splits['train']):,}", "images"),
            ("validation", f"{len(curation.splits['val']):,}", "images"),
            ("test", f"{len(curation.splits['test']):,}", "frozen for later runs"),
            ("quarantined", str(len(found.quarantined)), "cannot be used"),
            ("label conflicts", str(len(found.conflicts)), "one picture, two labels"),
            ("leaks", str(len(found.leaks)), "training images also in test"),
        ]
    )
    section.plot(_class_chart(curation), "Images per class and split.", "classes")
    counts = {split: _by_class(curation.splits[split]) for split in _SPLIT_COLOURS}
    rows = [[name, *(counts[s].get(name, 0) for s in counts)] for name in curation.classes]
    section.table(["class", *counts], rows)
    if unlabelled := len(curation.splits["unlabelled"]):
        section.text(f"{unlabelled:,} unlabelled images travel along for labelling and drift.")
    if left_out := len(found.left_out):
        section.text(
            f"{left_out:,} raw test images are not in the frozen test set; they are left out of "
            "everything, so that all runs are measured on the same images."
        )


def _class_chart(curation: Curation) -> Figure:
    from matplotlib.figure import Figure  # without pyplot there is no global state

    figure = Figure(figsize=(7.5, 0.42 * len(curation.classes) + 1.0))
    axes = figure.subplots()
    start = [0] * len(curation.classes)
    for split, colour in _SPLIT_COLOURS.items():
        counts = _by_class(curation.splits[split])
        widths = [counts.get(name, 0) for name in curation.classes]
        axes.barh(curation.classes, widths, left=start, color=colour, label=split)
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _quarantine(report: Report, curation: Curation) -> None:
    images = curation.findings.quarantined
    section = report.section("Quarantined: cannot be used")
    if not images:
        section.text("Every image decodes.")
        return
    section.table(["reason", "images"], Counter(image.problem for image in images).most_common())
    _gallery(section, ((image, f"{image.problem}: {image.source}") for image in images))


def _conflicts(report: Report, curation: Curation) -> None:
    section = report.section("Label conflicts: one picture under two labels")
    conflicts = curation.findings.conflicts
    if not conflicts:
        section.text("No picture has two labels.")
        return
    section.text("Left out under both labels; an annotation of the picture brings it back.")
    _gallery(
        section,
        ((image, f"{image.class_name}: {image.source}") for group in conflicts for image in group),
    )


def _leaks(report: Report, curation: Curation) -> None:
    section = report.section("Leaks: training images that are in the test set")
    leaks = curation.findings.leaks
    if not leaks:
        section.text("No training image equals or nearly equals a test image.")
        return
    section.text("Left out of training, so that the test measures what was never seen.")
    _pairs(section, leaks, "left out", "in the test set")


def _duplicates(report: Report, curation: Curation) -> None:
    section = report.section("Duplicates")
    duplicates = curation.findings.duplicates
    section.text(
        f"{len(duplicates):,} exact copies were dropped. {len(curation.groups):,} groups of "
        "near-duplicates were kept, each whole on one side of the split."
    )
    _pairs(section, duplicates, "kept", "dropped")
    shown = curation.groups[: _SHOWN // 3]
    numbered = ((n, image) for n, group in enumerate(shown, 1) for image in group)
    _gallery(section, ((image, f"group {n}: {image.source}") for n, image in numbered))


def _conversions(report: Report, curation: Curation) -> None:
    images = curation.findings.converted
    if not images:
        return
    section = report.section("Converted while decoding")
    section.text(
        "Kept: training and serving decode them through the same function to upright 8-bit RGB."
    )
    reasons = Counter(reason for image in images for reason in image.conversions)
    section.table(["conversion", "images"], reasons.most_common())
    _gallery(
        section, ((image, f"{', '.join(image.conversions)}: {image.source}") for image in images)
    )


def _annotations(report: Report, curation: Curation) -> None:
    merge = curation.merge
    if not merge.counts.total():
        return
    section = report.section("Annotations")
    section.text(f"{len(merge.annotators):,} training images carry a label that people gave.")
    section.table(["what became of it", "count"], sorted(merge.counts.items()))
    _gallery(
        section,
        ((image, f"{image.class_name}, now {label}") for image, label in merge.corrections),
    )


def _pairs(
    section: Section, pairs: Sequence[tuple[ScannedImage, ScannedImage]], first: str, second: str
) -> None:
    captioned = []
    for one, other in pairs:
        captioned += [
            (one, f"{first}: {one.source} ({one.class_name})"),
            (other, f"{second}: {other.source} ({other.class_name})"),
        ]
    _gallery(section, captioned)


def _gallery(section: Section, captioned: Iterable[tuple[ScannedImage, str]]) -> None:
    """Show the first pictures and say how many more there are."""
    pictures = list(captioned)
    if pictures:
        section.gallery([(_thumbnail(image), caption) for image, caption in pictures[:_SHOWN]])
    if len(pictures) > _SHOWN:
        section.text(f"{len(pictures) - _SHOWN:,} more pictures are listed in report.json.")


def _thumbnail(image: ScannedImage) -> Image.Image:
    """Return a small picture, a grey card where the image does not decode."""
    try:
        picture = decode_rgb(image.ref.read(), at_least=_THUMB_PX)
        picture.thumbnail((_THUMB_PX, _THUMB_PX))
    except ImageError:
        picture = Image.new("RGB", (_THUMB_PX, _THUMB_PX), "#d9dce1")
        text = ImageDraw.Draw(picture)
        text.text((_THUMB_PX / 2, _THUMB_PX / 2), image.problem, fill="#5a6270", anchor="mm")
    return picture


def _facts(curation: Curation) -> dict[str, Any]:
    """Return report.json: every figure of the page, and every image left out."""
    found, merge = curation.findings, curation.merge
    lists: dict[str, list[Any]] = {
        "quarantined": [
            {"source": i.source, "reason": i.problem, "detail": i.detail} for i in found.quarantined
        ],
        "duplicates": [{"kept": a.source, "dropped": b.source} for a, b in found.duplicates],
        "label_conflicts": [
            [{"source": i.source, "class": i.class_name} for i in group]
            for group in found.conflicts
        ],
        "leaks": [
            {"train": a.source, "test": b.source, "exact": a.sha256 == b.sha256}
            for a, b in found.leaks
        ],
        "near_duplicate_groups": [[i.source for i in group] for group in curation.groups],
        "left_out_test_images": [i.source for i in found.left_out],
        "converted": [{"source": i.source, "conversions": i.conversions} for i in found.converted],
        "annotated_test_images": [
            {"image": a.source, "test": b.source} for a, b in merge.test_images
        ],
        "label_corrections": [
            {"source": i.source, "from": i.class_name, "to": label}
            for i, label in merge.corrections
        ],
    }
    return {
        "classes": curation.classes,
        "images": {split: _by_class(images) for split, images in curation.splits.items()},
        "counts": {name: len(items) for name, items in lists.items()},
        "annotations": dict(merge.counts),
        **{name: items[:_LISTED] for name, items in lists.items()},
    }


def _by_class(images: Iterable[ScannedImage]) -> dict[str, int]:
    return dict(sorted(Counter(image.class_name or "" for image in images).items()))
