"""Metric lines come out whole, or are counted; nothing raises or waits."""

from __future__ import annotations

import os

import pytest

from components.inference.emitter import Emitter


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


def test_lines_go_to_stdout_and_to_a_file(tmp_path, pipe):
    emitter = Emitter(tmp_path / "metrics", pipe[1])
    emitter.emit(["one", "two"])
    emitter.emit(["three"])
    assert os.read(pipe[0], 100) == b"one\ntwo\nthree\n"
    (part,) = (tmp_path / "metrics").iterdir()
    assert part.read_text() == "one\ntwo\nthree\n"
    assert emitter.lost == 0


def test_a_closed_reader_is_counted_and_the_file_goes_on(tmp_path, pipe):
    os.close(pipe[0])
    emitter = Emitter(tmp_path, pipe[1])
    emitter.emit(["one", "two"])
    assert emitter.lost == 2
    assert next(tmp_path.iterdir()).read_text() == "one\ntwo\n"


def test_a_closed_stdout_is_counted_and_the_file_goes_on(tmp_path, pipe):
    os.close(pipe[1])
    emitter = Emitter(tmp_path, pipe[1])
    emitter.emit(["one"])
    assert emitter.lost == 1
    assert next(tmp_path.iterdir()).read_text() == "one\n"


def test_a_pipe_nobody_reads_makes_nobody_wait(tmp_path, pipe):
    emitter = Emitter(tmp_path, pipe[1])
    line = "x" * 4000
    for _ in range(100):  # a pipe holds 64 KiB
        emitter.emit([line])
    assert emitter.lost > 50
    os.set_blocking(pipe[0], False)
    piped = os.read(pipe[0], 1 << 20).decode().splitlines()
    assert set(piped) == {line}


def test_a_folder_that_cannot_be_made_is_counted_and_stdout_goes_on(tmp_path, pipe):
    (tmp_path / "file").write_text("")
    emitter = Emitter(tmp_path / "file/metrics", pipe[1])
    emitter.emit(["one"])
    assert emitter.lost == 1
    assert os.read(pipe[0], 100) == b"one\n"


def test_files_are_bounded_and_the_newest_stay(tmp_path, pipe):
    os.close(pipe[0])
    emitter = Emitter(tmp_path, pipe[1])
    for number in range(26):
        emitter.emit([f"{number:02d}" + "x" * 600_000])
    parts = list(tmp_path.iterdir())
    assert len(parts) == 10
    assert all(part.stat().st_size <= 1 << 20 for part in parts)
    assert any(part.read_text().startswith("25") for part in parts)


def test_a_restart_counts_the_files_of_the_last_process(tmp_path, pipe):
    os.close(pipe[0])
    for number in range(15):
        Emitter(tmp_path, pipe[1]).emit([str(number)])
    assert len(list(tmp_path.iterdir())) == 10
