"""The drift report: how often it cries wolf, and which wolves it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.vision.plots import curves
from shared.vision.report import Report


def write_page(
    folder: Path, facts: dict[str, Any], kinds: tuple[str, ...], severities: tuple[int, ...]
) -> None:
    """Write report.json, report.html and pictures/ into `folder`.

    facts: what calibration.json holds.
    """
    report = Report(
        "Drift detector",
        f"A window of {facts['window']} images is compared with {facts['reference_images']} "
        "held-out ones. Before it is trusted, its false alarms and its power were measured.",
    )
    low, high = facts["interval"]
    alarms = report.section("False alarms")
    alarms.figures(
        [
            ("Intended", f"{facts['significance']:.1%}", "of clean windows"),
            (
                "Measured",
                f"{facts['rate']:.1%}",
                f"{facts['alarms']} of {facts['windows']} windows",
            ),
            ("95 % interval", f"{low:.1%} to {high:.1%}", "Clopper-Pearson"),
            ("Threshold", f"{facts['threshold']:.3g}", "on the corrected p-value"),
        ]
    )
    alarms.verdict(
        "The measured rate fits the intended one, as far as so many windows can tell."
        if facts["is_as_stated"]
        else "The measured rate does not fit the intended one: the detector is not calibrated.",
        bool(facts["is_as_stated"]),
    )
    alarms.text(
        "The threshold was set on as many other clean windows. A clean window is drawn from the "
        "held-out images and taken out of the reference while it is tested."
    )
    _add_power(report, facts, kinds, severities)
    report.write(folder, facts)


def _add_power(
    report: Report, facts: dict[str, Any], kinds: tuple[str, ...], severities: tuple[int, ...]
) -> None:
    section = report.section("Power: what it sees")
    found = facts["power"]
    rows = [(kind, *(found[f"{kind} {severity}"] for severity in severities)) for kind in kinds]
    section.text(f"Share of {facts['drifted_windows']} drifted windows that raise the alarm.")
    section.table(["change", *(f"severity {s}" for s in severities)], rows)
    lines = {kind: [facts["rate"], *values] for kind, *values in rows}
    section.plot(
        curves([0, *severities], lines, "severity (0: clean)", "share of windows that alarm"),
        "At severity 0 stands the rate of false alarms.",
        "power",
    )
    mixes = facts["class_mix_power"]
    section.text("Class mix: a share of the window is drawn from one class alone.")
    section.table(["extra share of one class", *mixes], [("windows that alarm", *mixes.values())])
