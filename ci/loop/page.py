"""What a run of the loop came to: a page on the terminal, and a report with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ci.loop.runs import Comparison
from ci.loop.story import Options, Told
from ci.loop.traffic import Queue, Traffic
from shared.component.files import sha256_of
from shared.component.review_queue import sha256_of_key
from shared.vision.report import Report

_SHOWN = 12  # pictures of what people corrected


def lines(told: Told, options: Options) -> Iterator[str]:
    """Yield the page, a line a fact."""
    yield from (_line(name, text) for name, text in _facts(told, options))


def write_page(told: Told, options: Options, folder: Path) -> Path:
    """Write report.html, report.json and the pictures; return the page's path."""
    _, _, compared = _parts(told)
    report = Report("The labelling loop", _lead(compared))
    section = report.section("What happened")
    section.table(["step", "what came of it"], list(_facts(told, options)))
    section.verdict(f"{compared.verdict}: {_difference(compared)}", compared.low > 0)
    _add_curve(report, compared)
    _add_corrections(report, told)
    timing = report.section("How long it took")
    rows = [[step, f"{seconds:.0f} s"] for step, seconds in told.seconds.items()]
    timing.table(["step", "time"], rows)
    timing.text(f"All logs are in {folder.name}/; people's report is labels-report/report.html.")
    return report.write(folder, _document(told, options))


def _facts(told: Told, options: Options) -> Iterator[tuple[str, str]]:
    sent, queue, compared = _parts(told)
    suggested = [work for work in told.work if work.suggested]
    corrected = [work for work in suggested if work.label != work.suggested]
    seconds = sum(told.seconds.values())
    labelled = sum(len(paths) for paths in told.images.labelled.values())
    yield "first model", f"trained on {labelled} labelled images, because raw data arrived"
    yield (
        "in use",
        f"{sent.images} images, {sent.right / sent.images:.1%} right; {sent.unsure} answered with "
        f"less than {options.min_confidence:g} %; {sent.refused} damaged, refused",
    )
    yield "to people", f"{queue.tasks} tasks, {queue.audit} of them drawn at random for the audit"
    if told.work:
        blind = len(told.work) - len(suggested)
        yield (
            "pre-annotated",
            f"{len(suggested)} answers saw a suggestion, {blind} none (audit and blind share)",
        )
        yield "most unsure first", _order(told)
        yield "corrected", f"{len(corrected)} of {len(suggested)} suggestions"
    yield (
        "labels",
        f"{told.report['labels']} images have one now, "
        f"{told.report['to_adjudicate']['count']} are held for adjudication",
    )
    yield "agreement", _agreement(told)
    yield "audit", _audit(told)
    yield "retrain", f"{told.decision['reason']}: {len(told.runs)} run started"
    yield (
        "Label Studio again",
        f"wrote every annotation anew; retrain: {told.again['outcome']} ({told.again['reason']})",
    )
    yield (
        "frozen test set",
        f"{compared.images} images: {compared.before:.1%} -> {compared.after:.1%}; "
        f"{_difference(compared)}: {compared.verdict}",
    )
    yield "time", f"{seconds:.0f} s, of which training {_training_s(told):.0f} s"


def _parts(told: Told) -> tuple[Traffic, Queue, Comparison]:
    if told.traffic is None or told.queue is None or told.comparison is None:
        raise ValueError("the loop has not come to its end")
    return told.traffic, told.queue, told.comparison


def _line(name: str, text: str) -> str:
    return f"{name:<19} {text}"


def _lead(compared: Comparison) -> str:
    return (
        "Images the first model was unsure of went to people in Label Studio; what they said "
        f"started one training run. On the frozen test set {compared.verdict}."
    )


def _difference(compared: Comparison) -> str:
    gain = compared.after - compared.before
    return f"{gain:+.1%} (95 % interval {compared.low:+.1%} to {compared.high:+.1%})"


def _order(told: Told) -> str:
    scores = [work.score for work in told.work if work.score is not None]
    half = len(scores) // 2
    if not half:
        return "not measured: too few tasks"
    first, last = sum(scores[:half]) / half, sum(scores[half:]) / (len(scores) - half)
    return f"mean confidence of the first half of the tasks {first:.0%}, of the second {last:.0%}"


def _agreement(told: Told) -> str:
    """Say Krippendorff's alpha by batch."""
    said = [
        f"batch {batch['day']}: "
        + ("not measured" if batch["alpha"] is None else f"alpha {batch['alpha']:.2f}")
        + f" on {batch['shared']} images that two people labelled"
        for batch in told.report["batches"]
    ]
    return "; ".join(said) or "no batch"


def _audit(told: Told) -> str:
    """Say the accuracy in use as people measured it."""
    said = []
    for model in told.report["audit"]:
        right = model["accuracy"]
        if not right["total"]:
            said.append(f"version {model['model_version']}: nobody has labelled any yet")
            continue
        said.append(
            f"version {model['model_version']} is right on {right['hits']} of {right['total']} = "
            f"{right['share']:.1%} (95 % interval {right['low']:.1%} to {right['high']:.1%})"
        )
    return "; ".join(said) or "nothing was drawn"


def _training_s(told: Told) -> float:
    return sum(seconds for step, seconds in told.seconds.items() if step.startswith("the run"))


def _add_curve(report: Report, compared: Comparison) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.2))
    axes = figure.subplots()
    names, shares = ["first labels", "with people's labels"], [compared.before, compared.after]
    axes.barh(names, [100 * share for share in shares], color=["#9aa5b1", "#2f6f9f"])
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.set_xlabel(f"percent right of {compared.images} test images")
    caption = "Both models on the same images, none of which was ever trained on."
    report.section("Before and after").plot(figure, caption, "before-and-after")


def _add_corrections(report: Report, told: Told) -> None:
    """Show some of the images whose suggestion people did not take."""
    by_hash = {sha256_of(path): path for path in told.images.traffic}
    wrong = {
        sha256_of_key(work.image): f"{work.suggested} -> {work.label}"
        for work in told.work
        if work.suggested and work.label != work.suggested
    }
    pictures = [(Image.open(by_hash[sha]), said) for sha, said in list(wrong.items())[:_SHOWN]]
    section = report.section("What people corrected")
    section.text("What the model suggested, and what people said.")
    if pictures:
        section.gallery(pictures)


def _document(told: Told, options: Options) -> dict[str, Any]:
    sent, queue, compared = _parts(told)
    return {
        "options": {n: value for n, value in vars(options).items() if n != "ask"},
        "traffic": asdict(sent),
        "queue": asdict(queue),
        "answers": [asdict(work) for work in told.work],
        "labels": told.report,
        "retrain": told.decision,
        "again": told.again,
        "runs": told.runs,
        "comparison": asdict(compared) | {"verdict": compared.verdict},
        "seconds": told.seconds,
    }
