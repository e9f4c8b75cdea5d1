"""Each process keeps to a core of its own, as long as it lives and there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from components.inference.cores import keep_to_a_core

CLAIM = """
import sys
from pathlib import Path
from components.inference.cores import keep_to_a_core
print(keep_to_a_core(Path(sys.argv[1])), flush=True)
input()
"""
ROOT = Path(__file__).parents[3]


@contextmanager
def claiming(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a process that keeps to a core until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), psutil.Process(process.pid)
        process.communicate("\n")


def test_each_takes_a_core_that_nobody_has_until_none_is_left(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        for core in cores:
            said, process = stack.enter_context(claiming(tmp_path))
            assert said == str(core)
            assert process.cpu_affinity() == [core]
        said, process = stack.enter_context(claiming(tmp_path))
        assert said == "None"
        assert process.cpu_affinity() == cores


def test_a_core_is_free_again_when_its_process_was_killed(tmp_path: Path) -> None:
    with claiming(tmp_path) as (first, process):
        process.kill()
        process.wait(30)
        with claiming(tmp_path) as (second, _):
            assert second == first


def test_where_it_is_not_allowed_a_worker_runs_where_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    cores = os.sched_getaffinity(0)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert keep_to_a_core(tmp_path) is None
    assert keep_to_a_core(tmp_path / "missing") is None
    assert os.sched_getaffinity(0) == cores
