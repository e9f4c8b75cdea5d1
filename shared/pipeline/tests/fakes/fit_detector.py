"""Fake."""

from pathlib import Path


def run(*, report: Path, detector: Path, **options) -> None:
    (report / "report.html").write_text("<h1>drift</h1>")
    (detector / "detector.json").write_text("{}")
