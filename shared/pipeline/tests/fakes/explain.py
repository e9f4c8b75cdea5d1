"""Fake."""

from pathlib import Path


def run(*, report: Path, **options) -> None:
    (report / "report.html").write_text("<h1>why</h1>")
