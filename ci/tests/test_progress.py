"""Progress: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from ci.progress import Lines, Rows, watching


def test_off_a_terminal_every_step_is_a_line() -> None:
    out = io.StringIO()
    with watching(out) as watch:
        assert isinstance(watch, Lines)
        watch.step("train", "[2/9] COPY x x" + "." * 200)
        watch.end("train", "built")
    first, last = out.getvalue().splitlines()
    assert first.startswith("train: [2/9] COPY x x")
    assert len(first) < 120
    assert last == "train: built"


def test_a_terminal_gets_a_row_a_component_with_its_seconds() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with watching(out) as watch:
        assert isinstance(watch, Rows)
        watch.step("train", "[2/9] COPY x x")
        watch.step("web", "[1/9] FROM y")
        watch.end("web", "is there")
    console = Console(file=io.StringIO(), width=80)
    console.print(watch)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.split() for line in text.splitlines()] == [
        ["component", "step", "seconds"],
        ["train", "[2/9]", "COPY", "x", "x", "0"],
        ["web", "is", "there", "0"],
    ]
