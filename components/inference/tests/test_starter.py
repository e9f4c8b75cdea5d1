"""What stands for Python runs the script it is given, and ends with who started it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from components.inference.lifeline import runs
from components.inference.starter import write_python

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, os, sys, time
print(json.dumps([__name__, sys.argv[1:], os.getpid()]), flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    python, script = tmp_path / "python", tmp_path / "script.py"
    write_python(python)
    script.write_text(SCRIPT)
    return [str(python), str(script)]


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start it as Java does: a child of the leader of its group."""
    leader = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        leader, stdout=subprocess.PIPE, text=True, env=environ, start_new_session=True
    )


def test_a_script_runs_as_if_python_had_been_given_it(command: list[str]) -> None:

    with start([*command, "0", "two words"]) as leader:
        out, _ = leader.communicate(timeout=60)
    name, arguments, _ = json.loads(out)
    assert leader.returncode == 0
    assert (name, arguments) == ("__main__", ["0", "two words"])


def test_it_ends_with_who_started_it(command: list[str]) -> None:

    with start([*command, "600"]) as leader:
        assert leader.stdout is not None
        _, _, pid = json.loads(leader.stdout.readline())
        script = psutil.Process(pid)
        leader.kill()
        script.wait(30)
    assert not runs(script)


def test_it_does_not_begin_where_who_started_it_has_gone(command: list[str]) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "0"], capture_output=True, env=environ, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
