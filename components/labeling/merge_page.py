"""The page of a merge: what may be trained on, how good the model is, how people label."""

from __future__ import annotations

from matplotlib.figure import Figure

from components.labeling.annotators import Annotator
from components.labeling.audit import ModelAudit
from components.labeling.batches import Batch
from components.labeling.decide import Decision, Rules
from components.labeling.merge_report import Changes, MergeContext
from components.labeling.proportions import Proportion
from shared.vision.plots import ACCENT, BAD, GOOD, SOFT
from shared.vision.report import Report, Section

_LISTED = 30  # rows of a table that nobody reads to its end
_PERSON = (
    *("annotator", "images", "skipped", "gold known", "accepted"),
    *("agrees, suggested", "agrees, blind", "seconds", "counts"),
)


def build_page(decision: Decision, context: MergeContext, changes: Changes, rules: Rules) -> Report:
    """Return the page, to be written."""
    report = Report(
        "Labels",
        f"{len(decision.labels):,} images carry a label that people agree on and may be "
        f"trained on; {len(decision.to_adjudicate):,} wait for adjudication.",
    )
    _add_labels(report.section("What people decided"), decision, context, changes)
    _add_audit(report.section("The model in production"), decision.audit)
    _add_agreement(report.section("Do people agree?"), decision, rules)
    _add_annotators(report.section("Annotators"), decision, rules)
    _add_adjudication(report.section("For adjudication"), decision)
    return report


def _add_labels(
    section: Section, decision: Decision, context: MergeContext, changes: Changes
) -> None:
    newest = decision.audit[-1] if decision.audit else ModelAudit("of no model yet")
    section.figures(
        [
            ("Labels", f"{len(decision.labels):,}", f"{changes.new:,} more than before"),
            ("Changed", f"{changes.other_label:,}", "have another label than before"),
            ("Left", f"{changes.left:,}", f"{changes.left_for_audit:,} drawn for the audit"),
            ("Audit", _shown(newest.right)[0], f"answers right, {newest.model_version}"),
        ]
    )
    if changes.left_for_audit:
        section.text(
            "Images that were drawn for the audit sample after they had been labels for "
            f"training: {changes.left_for_audit:,}. They have left; a model that was trained "
            "before has seen them."
        )
    section.table(["images", "number"], sorted(decision.images.items()))
    section.table(["answers", "number"], sorted(decision.answers.items()))
    if broken := len(context.reading.unreadable) + len(context.facts.damaged):
        section.verdict(
            f"Objects that are no annotation or no task: {broken:,}; report.json names them.", False
        )
    section.text(f"Manifest {context.fingerprint or 'none yet: nothing is labelled'}.")


def _add_audit(section: Section, audit: list[ModelAudit]) -> None:
    if not audit:
        section.text("No image was drawn for the audit sample yet.")
        return
    section.text(
        "Images drawn at random from all that were predicted, labelled by people who did not "
        "see the model's answer, never trained on. Those that somebody labelled with a suggestion "
        "in sight before they were drawn (led) measure nothing. Intervals are Wilson's, 95 %."
    )
    section.table(
        [
            "model",
            "drawn",
            "labelled",
            "right",
            "accuracy",
            "interval",
            "held",
            "unlabelled",
            "led",
        ],
        [_audit_row(model) for model in audit],
    )
    measured = [model for model in audit if model.right.total]
    if measured:
        section.plot(
            _intervals([(m.model_version, m.right) for m in measured]),
            "Accuracy in production by model version, with 95 % intervals.",
            "audit",
        )
    rows = [
        (model.model_version, name, part.total, *_shown(part))
        for model in audit
        for name, part in model.by_class.items()
    ]
    if rows:
        section.table(["model", "class (by people)", "images", "right", "interval"], rows)


def _add_agreement(section: Section, decision: Decision, rules: Rules) -> None:
    held = [batch for batch in decision.batches if batch.is_held]
    if held:
        days = ", ".join(batch.day for batch in held[:_LISTED])
        section.verdict(
            f"Held back, alpha below {rules.min_alpha:g}: {days}. People should talk about what "
            "the labels mean; images that are adjudicated are used all the same.",
            False,
        )
    section.text(
        "Krippendorff's alpha by the day images were queued: 1 is full agreement, 0 is chance. "
        f"It is measured from {rules.min_shared} images on that two people labelled; a batch "
        "with fewer passes."
    )
    rows = [(b.day, b.images, b.shared, _number(b.alpha), _state(b)) for b in decision.batches]
    section.table(["batch", "images", "shared", "alpha", ""], rows[-_LISTED:])
    measured = [(b.day, b.alpha) for b in decision.batches if b.alpha is not None][-_LISTED:]
    if len(measured) > 1:
        section.plot(
            _alphas(measured, rules.min_alpha),
            "Agreement by day; below the line a batch is held back.",
            "agreement",
        )
    if decision.pairs:
        section.table(
            ["annotator", "and", "shared", "agreed", "kappa"],
            [
                (p.first, p.second, p.shared, p.agreed / p.shared, _number(p.kappa))
                for p in decision.pairs[:_LISTED]
            ],
        )


def _add_annotators(section: Section, decision: Decision, rules: Rules) -> None:
    people = list(decision.annotators.values())
    if not people:
        section.text("Nobody has labelled anything yet.")
        return
    for person in people:
        if person.is_left_out:
            section.verdict(
                f"Annotator {person.name} knows {person.gold.hits} of {person.gold.total} gold "
                f"images, less than {rules.min_gold:.0%}: no answer of theirs counts.",
                False,
            )
        if person.warning:
            section.verdict(f"Annotator {person.name} {person.warning}.", False)
    section.table(
        _PERSON,
        [_row(person) for person in people],
    )
    section.text(
        "Accepted: suggestions taken unchanged. Who agrees with the model far more often when "
        "its answer is shown than on blind images of the same kind follows it."
    )


def _audit_row(model: ModelAudit) -> tuple[object, ...]:
    right = model.right
    counts = (model.model_version, model.drawn, right.total, right.hits)
    return (*counts, *_shown(right), model.held, model.unlabelled, model.led)


def _row(person: Annotator) -> tuple[object, ...]:
    seconds = "-" if person.median_s is None else f"{person.median_s:.1f}"
    return (
        *(person.name, person.images, person.skipped, _of(person.gold), _of(person.accepted)),
        *(_of(person.with_suggestion), _of(person.blind), seconds, not person.is_left_out),
    )


def _add_adjudication(section: Section, decision: Decision) -> None:
    waiting = decision.to_adjudicate
    if not waiting:
        section.text("Nothing waits: no image has as many votes for one label as for another.")
        return
    section.text(
        f"{len(waiting):,} images have as many votes for one label as for another. Mark the "
        "right answer as ground truth (the star) in Label Studio."
    )
    section.table(["image"], [(uri,) for uri in waiting[:_LISTED]])


def _state(batch: Batch) -> str:
    if batch.alpha is None:
        return "not measured, passes"
    return "held back" if batch.is_held else "passes"


def _number(value: float | None) -> float | str:
    return "-" if value is None else value


def _of(part: Proportion) -> str:
    return "-" if part.share is None else f"{part.share:.0%} of {part.total}"


def _shown(part: Proportion) -> tuple[str, str]:
    low, high = part.interval
    if part.share is None:
        return "-", "-"
    return f"{part.share:.1%}", f"{low:.1%} to {high:.1%}"


def _intervals(parts: list[tuple[str, Proportion]]) -> Figure:
    figure = Figure(figsize=(6.4, 0.9 + 0.45 * len(parts)))
    axes = figure.subplots()
    for row, (_, part) in enumerate(parts):
        low, high = part.interval
        axes.plot([low, high], [row, row], color=SOFT, linewidth=3, solid_capstyle="round")
        axes.plot(part.share or 0.0, row, marker="o", color=ACCENT)
    axes.set_yticks(range(len(parts)), [name for name, _ in parts])
    axes.set_ylim(-0.6, len(parts) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy")
    axes.grid(alpha=0.25, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _alphas(days: list[tuple[str, float]], limit: float) -> Figure:
    figure = Figure(figsize=(6.4, 3.0))
    axes = figure.subplots()
    colours = [BAD if alpha < limit else GOOD for _, alpha in days]
    axes.bar(range(len(days)), [alpha for _, alpha in days], color=colours)
    axes.axhline(limit, color=SOFT, linewidth=1.2, linestyle="--")
    axes.set_xticks(range(len(days)), [day for day, _ in days], rotation=40, ha="right")
    axes.set_ylabel("alpha")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
