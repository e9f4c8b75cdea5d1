"""A child ends with its parent, whatever number the parent has: in a container it is 1."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from components.inference.lifeline import end_with


def child_of(parent: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "input()"]
    begin = partial(end_with, parent)
    return subprocess.Popen(command, stdin=subprocess.PIPE, preexec_fn=begin)  # noqa: PLW1509


def test_a_child_of_that_parent_lives() -> None:
    with child_of(os.getpid()) as child:
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_child_whose_parent_went_before_ends_at_once() -> None:
    with child_of(os.getppid()) as child:
        assert child.wait(30) == 1
