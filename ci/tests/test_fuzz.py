"""A bounded fuzz of every target, and that a fuzz finds what is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ci.fuzz import TARGETS, main
from ci.problems import REPOSITORY

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed"
)
RUNS = {"decode": "1500", "payload": "4000"}
BROKEN = """
import sys
import ci.fuzz

def broken(instrument):
    def throw(data):
        if data.startswith(b"!"):
            raise KeyError("undocumented")
    return throw, [b"!seed"]

ci.fuzz.TARGETS["broken"] = broken
ci.fuzz.main(["--child", "--target", "broken", "--runs", "50", "--found", sys.argv[1]])
"""


@pytest.mark.parametrize("target", list(TARGETS))
def test_nothing_but_the_documented_errors_comes_out(target: str, tmp_path: Path) -> None:
    flags = ["--runs", RUNS.get(target, "20000"), "--seed", "7", "--seconds", "60"]
    assert main(["--target", target, *flags, "--found", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_an_undocumented_error_is_found_and_kept(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path)],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=REPOSITORY,
    )
    assert ended.returncode != 0
    assert b"undocumented" in ended.stdout + ended.stderr
    (found,) = tmp_path.iterdir()
    assert found.name.startswith("broken-crash-")
    assert found.read_bytes() == b"!seed"


def test_the_memory_of_who_starts_it_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """Linux tells a child's largest memory from its parent's on; pytest has grown by here."""
    script = (
        "x = bytearray(400 << 20)\n"
        "x[::4096] = b'1' * len(x[::4096])\n"
        "from ci.fuzz import main\n"
        f"main('--target accept --runs 200 --seed 7 --found {tmp_path}'.split())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    (peak,) = re.findall(r"stat::peak_rss_mb: +(\d+)", done.stdout + done.stderr)
    assert int(peak) < 300
