"""A child ends with its parent, whatever number the parent has: in a container it is 1."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from components.inference.lifeline import end_with

SLEEP = [sys.executable, "-c", "input()"]


def test_a_child_of_that_parent_lives() -> None:
    with subprocess.Popen(
        SLEEP, stdin=subprocess.PIPE, preexec_fn=partial(end_with, os.getpid())
    ) as child:
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_child_whose_parent_went_before_ends_at_once() -> None:
    with subprocess.Popen(
        SLEEP, stdin=subprocess.PIPE, preexec_fn=partial(end_with, os.getppid())
    ) as child:
        assert child.wait(30) == 1
