"""Reports: one file that opens offline, nothing unescaped, bound into one page."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from shared.component.errors import InputError
from shared.vision.plots import curves
from shared.vision.report import Report, bind, read_report


def write(folder, title="Data"):
    report = Report(title, "What was <b>found</b>.")
    section = report.section("Numbers")
    section.table(["name", "value"], [("<script>", 0.12345), ("yes?", True)])
    section.gallery([(Image.new("RGB", (8, 8)), "a & b")])
    section.plot(curves([0, 1], {"x": [0, 1]}, "x", "y"), "A line.", "line")
    return report.write(folder, {"n": 1})


def test_escapes_what_comes_from_data(tmp_path):
    html = write(tmp_path).read_text()
    assert "&lt;script&gt;" in html
    assert "<b>found" not in html
    assert "0.123" in html


def test_needs_nothing_from_outside(tmp_path):
    html = write(tmp_path).read_text()
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert (tmp_path / "pictures" / "line.png").is_file()


def test_binds_chapters_with_their_content(tmp_path):
    for name in ("Data", "Training"):
        write(tmp_path / name, name)
    opening = Report("Summary", "")
    opening.section("At a glance").text("All well.")
    bind("Run", "Everything.", opening, [tmp_path / "Data", tmp_path / "Training"], tmp_path / "i")
    html = (tmp_path / "i").read_text()
    assert [*re.findall(r'<h2 id="([a-z]+)"', html)] == ["summary", "data", "training"]
    assert html.count("&lt;script&gt;") == 2
    assert html.count("<main>") == 1


def test_names_the_missing_report(tmp_path):
    with pytest.raises(InputError, match=r"report.html is missing"):
        bind("Run", "", Report("Summary", ""), [tmp_path], tmp_path / "i")
    with pytest.raises(InputError, match=r"report.json is missing"):
        read_report(tmp_path)
